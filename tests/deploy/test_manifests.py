"""compose.yaml, the Kubernetes example and prometheus.yml name real ports, paths, settings and files, and they fit."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from inference_service.http.scopes import OPEN, ROUTES
from inference_service.settings import ENV_PREFIX, Settings
from tests.deploy import files
from tests.deploy.test_image import serve_arguments

COMPOSE = files.read("compose.yaml")
POD = files.manifests()["Deployment"]["spec"]["template"]
CONTAINER = files.container()
TOML = files.manifests()["ConfigMap"]["data"]["service.toml"]
PORTS = {name: Settings.model_fields[name].default for name in ("port", "grpc_port")}


def kubernetes_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The ConfigMap's settings as the service reads them, its certificates lying in `tmp_path`."""
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).touch()
    config = tmp_path / "service.toml"
    config.write_text(TOML.replace("/etc/spotgrid/tls", str(tmp_path)))
    monkeypatch.delenv(f"{ENV_PREFIX}DATABASE_URL", raising=False)
    return Settings.load(config)


def known_settings(environment: dict[str, Any]) -> dict[str, Any]:
    """Settings that an environment names; a name that is none fails."""
    found = {name.removeprefix(ENV_PREFIX).lower(): value for name, value in environment.items()}
    assert [name for name in environment if not name.startswith(ENV_PREFIX)] == []
    assert set(found) <= set(Settings.model_fields)
    return found


# compose.yaml


def test_compose_builds_our_image_from_files_that_exist() -> None:
    build = COMPOSE["services"]["spotgrid"]["build"]
    assert (files.DEPLOY / build["context"]).resolve() == files.ROOT
    assert (files.ROOT / build["dockerfile"]).is_file()
    assert COMPOSE["services"]["spotgrid"]["image"] == files.IMAGE


def test_compose_tells_the_service_known_settings_that_fit_the_database() -> None:
    told = known_settings(COMPOSE["services"]["spotgrid"]["environment"])
    url = make_url(re.sub(r"\$\{[^}]*\}", "SECRET", told["database_url"]))
    database = COMPOSE["services"]["database"]["environment"]
    assert url.host in COMPOSE["services"]
    assert (url.username, url.database) == (database["POSTGRES_USER"], database["POSTGRES_DB"])
    assert url.get_backend_name() == "postgresql"
    secret = re.findall(r"\$\{[^}]*\}", told["database_url"])
    assert secret == [database["POSTGRES_PASSWORD"]]
    assert int(told["threads"]) <= COMPOSE["services"]["spotgrid"]["cpus"]


def test_compose_opens_the_service_s_ports_to_this_machine_alone() -> None:
    told = COMPOSE["services"]["spotgrid"]["ports"]
    assert told == [f"127.0.0.1:{port}:{port}" for port in PORTS.values()]
    every = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert [port for port in every if not port.startswith("127.0.0.1:")] == []


def test_compose_locks_the_service_in_and_lets_it_end() -> None:
    service = COMPOSE["services"]["spotgrid"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert files.seconds(service["stop_grace_period"]) > Settings.model_fields["drain_s"].default
    assert files.last("VOLUME") in [mount.split(":")[1] for mount in service["volumes"]]
    assert files.size(service["mem_limit"]) >= needed_bytes(Settings.load())


def test_everything_that_compose_mounts_and_names_is_there() -> None:
    for service in COMPOSE["services"].values():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert (files.DEPLOY / source).is_file() if source.startswith(".") else source in COMPOSE["volumes"]
        assert set(service.get("networks", [])) <= set(COMPOSE["networks"])
        assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])
        assert set(service.get("depends_on", {})) <= set(COMPOSE["services"])
        assert not re.search(r":latest$|^[^:]+$", service["image"]), "name the version"


def test_what_compose_asks_for_is_in_the_example_and_secrets_are_not_tracked() -> None:
    asked = set(re.findall(r"\$\{(\w+)", (files.DEPLOY / "compose.yaml").read_text()))
    example = (files.DEPLOY / "env.example").read_text()
    assert set(re.findall(r"(?m)^(\w+)=$", example)) == asked, "an example holds no password"
    for name in (".env", *(secret["file"] for secret in COMPOSE["secrets"].values())):
        done = subprocess.run(["git", "check-ignore", "--quiet", f"deploy/{name}"], cwd=files.ROOT, check=False)
        assert done.returncode == 0, f"{name} could be committed"


def test_prometheus_asks_the_service_with_the_key_that_compose_gives_it() -> None:
    config = files.read("prometheus.yml")
    (job,) = config["scrape_configs"]
    assert ROUTES["GET", job["metrics_path"]] == {"admin"}
    (target,) = job["static_configs"][0]["targets"]
    assert target == f"spotgrid:{PORTS['port']}"
    service = COMPOSE["services"]["prometheus"]
    assert job["authorization"]["credentials_file"] in [f"/run/secrets/{name}" for name in service["secrets"]]
    assert set(service["networks"]) & set(COMPOSE["services"]["spotgrid"]["networks"])
    mounts = dict(mount.split(":")[:2] for mount in service["volumes"])
    config_file = next(word for word in service["command"] if word.startswith("--config.file=")).partition("=")[2]
    assert mounts["./prometheus.yml"] == config_file
    for name in config["rule_files"]:
        assert mounts[f"./{name}"] == str(Path(config_file).parent / name)


# Kubernetes


def needed_bytes(settings: Settings) -> int:
    """What bodies in progress may take, HTTP's and gRPC's, and the most that one picture was measured to take."""
    rows = json.loads((files.ROOT / "benchmarks" / "results" / "speed.json").read_text())["rows"]
    peak: int = max(row["peak_mb"] for row in rows)
    return 2 * settings.max_requests * settings.max_body_bytes + (peak << 20)


def test_the_config_map_s_settings_are_read_and_fit_the_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, limits = kubernetes_settings(tmp_path, monkeypatch), CONTAINER["resources"]["limits"]
    assert found.host == "0.0.0.0"
    assert found.threads is not None
    assert found.threads * found.workers <= int(limits["cpu"])
    assert files.size(limits["memory"]) >= needed_bytes(found)
    assert [port["containerPort"] for port in CONTAINER["ports"]] == [found.port, found.grpc_port]
    wait = float(CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1])
    assert POD["spec"]["terminationGracePeriodSeconds"] > wait + found.drain_s


def test_the_pod_s_command_and_environment_are_ours() -> None:
    assert CONTAINER["image"] == files.IMAGE
    args = serve_arguments(CONTAINER["args"])
    mounts = {mount["mountPath"]: mount for mount in CONTAINER["volumeMounts"]}
    assert mounts[str(args.config)]["subPath"] == "service.toml"
    known_settings({entry["name"]: entry for entry in CONTAINER["env"]})
    assert files.last("VOLUME") in mounts
    told = tomllib.loads(TOML)
    assert {str(Path(told[name]).parent) for name in ("tls_cert", "tls_key")} <= set(mounts)


def test_every_mount_has_its_volume_and_every_volume_its_object() -> None:
    volumes = {volume["name"]: volume for volume in POD["spec"]["volumes"]}
    assert {mount["name"] for mount in CONTAINER["volumeMounts"]} == set(volumes)
    objects = files.manifests()
    assert (
        volumes["ledger"]["persistentVolumeClaim"]["claimName"] == objects["PersistentVolumeClaim"]["metadata"]["name"]
    )
    assert volumes["settings"]["configMap"]["name"] == objects["ConfigMap"]["metadata"]["name"]


@pytest.mark.parametrize(
    ("probe", "path"),
    [("startupProbe", "/readyz"), ("readinessProbe", "/readyz"), ("livenessProbe", "/healthz")],
)
def test_a_probe_asks_a_path_that_wants_no_key_as_the_port_speaks(probe: str, path: str) -> None:
    asked = CONTAINER[probe]["httpGet"]
    assert asked["path"] == path
    assert ROUTES["GET", path] == OPEN
    assert asked["port"] == CONTAINER["ports"][0]["name"] == "http"
    assert asked["scheme"] == ("HTTPS" if "tls_cert" in tomllib.loads(TOML) else "HTTP")


def test_the_pod_is_locked_in() -> None:
    pod, own = POD["spec"]["securityContext"], CONTAINER["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert f"{pod['runAsUser']}:{pod['runAsGroup']}" == files.last("USER")
    assert own["readOnlyRootFilesystem"] is True
    assert own["allowPrivilegeEscalation"] is False
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert POD["spec"]["automountServiceAccountToken"] is False


def test_selectors_meet_the_pod_and_ports_go_by_its_names() -> None:
    objects, labels = files.manifests(), POD["metadata"]["labels"]
    names = {port["name"] for port in CONTAINER["ports"]}
    service, policy = objects["Service"]["spec"], objects["NetworkPolicy"]["spec"]
    assert objects["Deployment"]["spec"]["selector"]["matchLabels"] == service["selector"] == labels
    assert policy["podSelector"]["matchLabels"] == labels
    assert {port["targetPort"] for port in service["ports"]} == names
    assert {port["port"] for rule in policy["ingress"] for port in rule["ports"]} == names
    assert [port["port"] for port in service["ports"]] == list(PORTS.values())


def test_one_file_of_sqlite_means_one_pod() -> None:
    deployment = files.manifests()["Deployment"]["spec"]
    assert deployment["replicas"] == 1
    assert deployment["strategy"]["type"] == "Recreate"
    assert files.manifests()["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteOncePod"]


# The checks must be able to fail.


def test_sizes_and_settings_are_read() -> None:
    assert (files.size("4g"), files.size("512Mi"), files.seconds("45s")) == (4 << 30, 512 << 20, 45.0)
    with pytest.raises(AssertionError):
        known_settings({"SPOTGRID_SERVE_PROT": "1"})
    with pytest.raises(AssertionError):
        known_settings({"SPOTGRID_SERVICE_PORT": "1"})
