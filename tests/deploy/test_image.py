"""The Dockerfile names what exists: files, commands, ports, paths. No container engine is needed; none is used."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

import spotgrid
from inference_service import command
from inference_service.http.scopes import OPEN, ROUTES
from inference_service.settings import Settings
from tests.deploy import files


def copied() -> list[str]:
    """What the image takes from the repository."""
    copies = [rest for keyword, rest in files.dockerfile() if keyword == "COPY" and "--from" not in rest]
    return [source for rest in copies for source in rest.split()[:-1]]


def serve_arguments(words: list[str]) -> argparse.Namespace:
    """The words after `spotgrid`, read as that command reads them."""
    assert words[0] in spotgrid.COMMANDS
    parser = argparse.ArgumentParser(exit_on_error=False)
    command.add_arguments(parser)
    assert words[0] == "serve"
    return parser.parse_args(words[1:])


def test_what_it_copies_is_tracked_and_passes_the_ignore_file() -> None:
    ignored = (files.DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    let_in = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert "*" in ignored, "all else stays out: secrets of deploy/ too"
    assert set(copied()) == let_in
    for name in copied():
        done = subprocess.run(["git", "ls-files", name], cwd=files.ROOT, check=True, capture_output=True, text=True)
        assert done.stdout, f"{name} is not tracked"


def test_it_copies_everything_that_the_wheel_is_made_of() -> None:
    project, tool = files.PROJECT["project"], files.PROJECT["tool"]["setuptools"]
    rooms = {name for name in tool["packages"]["find"]["include"] if "*" not in name}
    modules = {f"{name}.py" for name in tool["py-modules"]}
    assert rooms | modules | {project["readme"], *project["license-files"]} <= set(copied())


def test_it_installs_what_was_tested_and_no_torch() -> None:
    (install,) = (rest for keyword, rest in files.dockerfile() if keyword == "RUN" and "pip install" in rest)
    assert " -c constraints.txt " in install
    (extras,) = (rest.partition("=")[2] for k, rest in files.dockerfile() if k == "ARG" and rest.startswith("EXTRAS="))
    known = files.PROJECT["project"]["optional-dependencies"]
    assert set(extras.split(",")) <= set(known)
    wanted = [*files.PROJECT["project"]["dependencies"], *(line for name in extras.split(",") for line in known[name])]
    assert not [line for line in wanted if re.match(r"torch|timm", line)]
    (python,) = (rest.partition("=")[2] for k, rest in files.dockerfile() if k == "ARG" and rest.startswith("PYTHON="))
    resolved_on = re.search(r"Python (\d+\.\d+)", (files.ROOT / "constraints.txt").read_text().splitlines()[0])
    assert resolved_on
    assert python.startswith(f"{resolved_on[1]}-slim")


def test_it_runs_as_nobody_in_particular() -> None:
    user, group = map(int, files.last("USER").split(":"))
    assert user > 0 < group
    assert f"--uid {user}" in files.last("RUN")
    assert f"--owner={user}" in files.last("RUN")


def test_its_command_is_one_of_ours_and_its_ports_are_the_defaults() -> None:
    (program,) = json.loads(files.last("ENTRYPOINT"))
    assert program in files.PROJECT["project"]["scripts"]
    args = serve_arguments(json.loads(files.last("CMD")))
    assert args.host == "0.0.0.0", "or nothing outside the container reaches it"
    ports = {Settings.model_fields[name].default for name in ("port", "grpc_port")}
    assert {int(port) for port in files.last("EXPOSE").split()} == ports


def test_the_ledger_s_default_place_is_the_volume() -> None:
    assert files.last("WORKDIR") == files.last("VOLUME")
    default = Settings.model_fields["database_url"].default
    assert re.fullmatch(r"sqlite:///[\w.]+", default), "a name without a folder lies where the process works"
    assert not [rest for keyword, rest in files.dockerfile() if keyword == "ENV" and "SPOTGRID_SERVE_" in rest]


class _Answer(BaseHTTPRequestHandler):
    status = 200
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def answering(status: int) -> Iterator[tuple[int, list[str]]]:
    """A server that answers every GET so; its port, and the paths that it was asked for."""
    asked: list[str] = []
    handler = type("Handler", (_Answer,), {"status": status, "asked": asked})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port, asked
        finally:
            server.shutdown()
            thread.join()


def health_check(port: int) -> int:
    """Run the image's own check against a port; its exit code."""
    words = json.loads(files.last("HEALTHCHECK").partition("CMD ")[2])
    assert words[0] == "python"
    told = [word.replace(f":{Settings.model_fields['port'].default}/", f":{port}/") for word in words[1:]]
    assert told != words[1:]
    return subprocess.run([sys.executable, "-I", *told], stderr=subprocess.DEVNULL, timeout=60, check=False).returncode


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_says_what_the_service_says(status: int, code: int) -> None:
    with answering(status) as (port, asked):
        assert health_check(port) == code
    (path,) = asked
    assert ROUTES["GET", path] == OPEN


def test_the_health_check_fails_where_nothing_answers() -> None:
    with answering(200) as (port, _):
        pass
    assert health_check(port) == 1


def test_a_dockerfile_is_read_as_docker_reads_it() -> None:
    text = "# a\nFROM x AS y\nRUN a \\\n    # b\n    && c\nUSER 1\n"
    assert files.instructions(text) == [("FROM", "x AS y"), ("RUN", "a && c"), ("USER", "1")]
