"""What `make campaign` and `make bench` run exists and takes its arguments; kept results say where they are from."""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from benchmarks import campaign
from benchmarks.campaign import CAMPAIGNS, RESULTS, ROOT, Campaign
from tests.savings import postgres

RECENT = timedelta(days=60)
"""Before the commit that is tested, not before today: an old version's results stay as good as they were."""
ELSEWHERE = {"benchmarks.speed.rivals.run", "benchmarks.accuracy.measure", "benchmarks.rig.paths"}
"""Measure in virtual environments of their own (docs/speed.md, docs/campaigns.md), which `make` does not build."""
KEPT = sorted(RESULTS.glob("*.json"))


def git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def tracked(under: str, ending: str) -> list[Path]:
    return [ROOT / name for name in git("ls-files", under).splitlines() if name.endswith(ending)]


def measures(source: str) -> bool:
    """Whether a module is a command that keeps a result."""
    return '__name__ == "__main__"' in source and bool(re.search(r"(?m)^RESULT\b", source))


class Parsed(Exception):
    """A module read its arguments; it is to do no more."""


@pytest.mark.parametrize("each", CAMPAIGNS, ids=lambda each: each.name)
def test_a_campaign_is_there_and_takes_its_arguments(each: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    source = (ROOT / Path(*each.module.split(".")).with_suffix(".py")).read_text(encoding="utf-8")
    assert "main" in {node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    assert measures(source)
    module = importlib.import_module(each.module)
    assert RESULTS / each.result == module.RESULT
    read = argparse.ArgumentParser.parse_args

    def parse_only(parser: argparse.ArgumentParser, *given: Any) -> None:
        raise Parsed(read(parser, *given))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
    for reduced in (True, False):
        monkeypatch.setattr(sys, "argv", campaign.command(each, reduced)[2:])
        with pytest.raises(Parsed):
            module.main()


def test_whatever_measures_is_a_campaign() -> None:
    found = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in tracked("benchmarks", ".py")
        if path.is_file() and measures(path.read_text(encoding="utf-8"))
    }
    assert found - ELSEWHERE - {each.module for each in CAMPAIGNS} == set(), "add it to benchmarks/campaign.py"


def test_every_campaign_is_told() -> None:
    page = (ROOT / "docs" / "campaigns.md").read_text(encoding="utf-8")
    assert [each.name for each in CAMPAIGNS if f"| `{each.name}` |" not in page] == []
    assert {f"`--{name}`" for name in ("list", "reduced", "bench", "only")} <= set(re.findall(r"`--\w+`", page))


def test_names_are_their_own() -> None:
    assert len({each.name for each in CAMPAIGNS}) == len(CAMPAIGNS)


def test_a_kept_result_is_of_a_campaign() -> None:
    names = {each.result for each in CAMPAIGNS} | {"speed-rivals.json", "accuracy.json", "rig-paths.json"}
    assert {path.name for path in tracked("benchmarks/results", ".json")} <= names


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.name)
def test_a_kept_result_says_when_on_what_and_of_which_commit(path: Path) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    told = document.get("origin", document)
    assert re.fullmatch(r"[0-9a-f]{40}", told["commit"])
    assert isinstance(told["seed"], int)
    assert told["machine"]["processor"]
    assert told["machine"]["cores"] >= 1
    assert datetime.fromisoformat(told["date"]).tzinfo is not None


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.name)
def test_a_kept_result_is_recent(path: Path) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    told = document.get("origin", document)
    if git("rev-parse", "--is-shallow-repository").strip() == "true":
        pytest.skip("needs the whole history: git fetch --unshallow")
    head = datetime.fromtimestamp(int(git("log", "-1", "--format=%ct")), UTC)
    assert head - datetime.fromisoformat(told["date"]) < RECENT, f"run `make campaign ARGS='--only {path.stem}'`"
    code = subprocess.run(["git", "merge-base", "--is-ancestor", told["commit"], "HEAD"], cwd=ROOT, check=False)
    assert code.returncode == 0, "it was measured on a commit that is not in this history"


def test_one_that_fails_stops_no_other_and_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    wrong = Campaign("json.tool", "wrong.json", "fails", reduced=("--no-such-option",))
    right = Campaign("platform", "right.json", "works", reduced=(), full=("terse",))
    assert campaign.run([wrong, right], reduced=True) == ["wrong"]
    assert campaign.run([right], reduced=False) == []
    told = capfd.readouterr().err
    assert "== wrong FAILED with 2" in told
    assert told.count("== right done") == 2
    assert "-m platform terse" in told


def test_the_list_names_everything_and_runs_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(campaign, "run")
    campaign.main(["--list"])
    told = capsys.readouterr().out
    assert [each.name for each in CAMPAIGNS if each.module not in told or each.shows not in told] == []


def test_what_is_chosen_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[list[str], bool]] = []

    def note(chosen: list[Campaign], reduced: bool) -> list[str]:
        seen.append(([each.name for each in chosen], reduced))
        return []

    monkeypatch.setattr(campaign, "run", note)
    for words in ([], ["--bench"], ["--only", "speed", "rig-kill", "--bench", "--reduced"]):
        campaign.main(words)
    assert seen[0] == ([each.name for each in CAMPAIGNS], False)
    assert {"speed", "service-overhead", "link", "savings-million"} <= set(seen[1][0])
    assert not {"ledger-kill", "rig-kill"} & set(seen[1][0])
    assert seen[2] == (["speed"], True)


@pytest.mark.parametrize("words", [["--only", "rig-kill", "--bench"], ["--only", "nothing-of-ours"]])
def test_a_wrong_choice_is_told(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        campaign.main(words)
    assert stop.value.code == 2
    assert "rig-kill" in capsys.readouterr().err


def test_make_passes_arguments_on() -> None:
    for target, words in (("campaign", ""), ("bench", " --bench")):
        done = subprocess.run(
            ["make", "--dry-run", "--silent", target, "ARGS=--list"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert f"python -m benchmarks.campaign{words} --list" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("each", CAMPAIGNS, ids=lambda each: each.name)
def test_a_campaign_runs_at_a_small_n_and_keeps_no_result(each: Campaign, capfd: pytest.CaptureFixture[str]) -> None:
    if each.needs:
        with postgres.server():  # skips where it is not installed
            pass
    result = RESULTS / each.result
    before = result.read_bytes() if result.is_file() else None
    failed = campaign.run([each], reduced=True)
    said, told = capfd.readouterr()
    print(f"campaign {each.name}: N = {' '.join(each.reduced)}\n{said}\n{told}")
    if each.judges:
        assert json.loads(said)["garments"] == 2, "it ends with its figures, whether or not two garments meet an aim"
    else:
        assert failed == []
    assert (result.read_bytes() if result.is_file() else None) == before
