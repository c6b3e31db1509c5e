"""`spotgrid calibrate`: the exit codes, what is written, and what is not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

import spotgrid
from model.calibration import Calibration
from tests.hardware import cameras, rigs
from tests.hardware.cameras import session


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pictures of a session, at 1.1 megapixels."""
    folder = tmp_path_factory.mktemp("desk")
    seen = session()
    for kind, sightings in (("held", seen.held), ("flat", seen.flat)):
        for n, sighting in enumerate(sightings):
            cv2.imwrite(str(folder / f"{kind}{n}.png"), sighting.grey)
    cv2.imwrite(str(folder / "dots.png"), cv2.cvtColor(seen.dots, cv2.COLOR_RGB2BGR))
    (folder / "dots.csv").write_text("".join(f"{x},{y}\n" for x, y in cameras.DOTS_MM))
    rigs.profile(folder)
    return folder


@pytest.fixture(autouse=True)
def at_the_desk(desk: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(desk)
    yield
    for path in desk.glob("table-1*"):
        path.unlink()


def names(kind: str, count: int) -> list[str]:
    return [f"{kind}{n}.png" for n in range(count)]


RUN = ["calibrate", "run", *names("held", 7), "--flat", *names("flat", 5), "--sheet", "a3", "--bar-mm", "98"]
DOTS = ["--dots", "dots.csv", "--dots-picture", "dots.png"]


def test_a_session_becomes_a_calibration_that_passes_its_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert spotgrid.main([*RUN, *DOTS, "--profile", "bench.toml"]) == 0
    assert "worst error" in capsys.readouterr().err
    made = Calibration.load("table-1.json")
    assert made.id == "table-1"
    assert made.machine is not None
    report = json.loads(Path("table-1.report.json").read_text())
    assert (report["calibration"], report["refusals"]) == (made.label, [])
    assert len(report["pictures"]) == 12
    assert np.asarray(cv2.imread("table-1.residuals.png")).shape[1] == 1320
    check = ["calibrate", "check", "table-1.json", "--profile", "bench.toml", *DOTS]
    assert spotgrid.main([*check, "--flat", "flat2.png", "--bar-mm", "98", "--sheet", "a3"]) == 0
    assert "0.0 days old" in capsys.readouterr().err
    assert spotgrid.main([*check, "--max-age-days", "1e-9"]) == 1
    assert "refused: it is stale" in capsys.readouterr().err
    assert spotgrid.main([*check, "--flat", "flat2.png", "--bar-mm", "96", "--sheet", "a3"]) == 1
    assert "refused: the board looks +2." in capsys.readouterr().err


def test_a_refused_calibration_is_not_written_but_its_report_is(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [word if word != "98" else "99" for word in RUN]
    assert spotgrid.main([*arguments, *DOTS]) == 1
    said = capsys.readouterr().err
    assert "refused: known machine moves are -1.0" in said
    assert "table-1.json is not written" in said
    assert not Path("table-1.json").exists()
    assert json.loads(Path("table-1.report.json").read_text())["refusals"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["calibrate", "run", "none.png", *RUN[3:]], "none.png: no such file"),
        ([*RUN, "--dots", "dots.csv"], "--dots and --dots-picture belong together"),
        ([*RUN, "--profile", "bench.toml"], "--profile needs them"),
        ([*RUN[:-1], "9.8"], "the bar is 9.8 mm long?"),
        pytest.param(
            [*RUN, "--area-mm", "0", "0", "5000", "5000"],
            "give no usable calibration: the canvas would cover 25 m²",
            marks=pytest.mark.slow,
        ),
        (["calibrate", "board", "--sheet", "a7"], "no sheet is called 'a7'"),
        (["calibrate", "check", "none.json"], "none.json: No such file"),
        (["calibrate", "check", "none.json", "--flat", "flat0.png"], "so do --flat and --bar-mm"),
        (["calibrate", "check", "none.json", "--max-age-days", "nan"], "--max-age-days is nan"),
    ],
)
def test_wrong_calls_exit_2_and_say_why(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert spotgrid.main(arguments) == 2
    assert message in capsys.readouterr().err


def test_the_wrong_board_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert spotgrid.main([*RUN[:-3], "a4", *RUN[-2:]]) == 2
    assert "it shows another board than a4" in capsys.readouterr().err


def test_a_part_must_be_named() -> None:
    assert spotgrid.main(["calibrate"]) == 2


def test_the_board_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert spotgrid.main(["calibrate", "board", "--out", str(tmp_path / "b.pdf")]) == 0
    assert (tmp_path / "b.pdf").read_bytes().startswith(b"%PDF")
    assert "measure the bar" in capsys.readouterr().err
    assert spotgrid.main(["calibrate", "board", "--out", str(tmp_path / "none" / "b.pdf")]) == 1
