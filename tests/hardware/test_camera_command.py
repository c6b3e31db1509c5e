"""`spotgrid calibrate take` and `lens`."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import spotgrid
from hardware.camera_health import Reference
from hardware.errors import RigError
from tests.hardware.test_camera_health import board, sheet
from tests.hardware.test_camera_live import mjpeg


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    desk = tmp_path_factory.mktemp("desk")
    for name, picture in {
        "sheet": sheet(),
        "later": sheet(seed=4),
        "dim": sheet(120.0),
        "board": board(),
        "blurred": board(2.0),
        "black": np.zeros((60, 80, 3), dtype=np.uint8),
    }.items():
        cv2.imwrite(str(desk / f"{name}.png"), picture)
    return desk


@pytest.fixture(autouse=True)
def folder(desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for picture in desk.iterdir():
        (tmp_path / picture.name).symlink_to(picture)
    return tmp_path


def test_pictures_are_taken_from_a_stream(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mjpeg() as server:
        url = f"http://127.0.0.1:{server.server_port}/x.mjpg"
        words = ["calibrate", "take", url, "--count", "3", "--every-s", "1.2", "--within-s", "60", "--out", "new"]
        assert spotgrid.main(words) in (0, 1)  # the stream begins dark, and dark is trouble
    assert [path.name for path in sorted((folder / "new").iterdir())] == ["0000.png", "0001.png", "0002.png"]
    first, last = (cv2.imread(f"new/000{n}.png") for n in (0, 2))
    assert first is not None
    assert last is not None
    assert last.shape == (48, 64, 3)
    assert (first != last).any()
    assert "64 x 48 px" in capsys.readouterr().err


def test_trouble_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert spotgrid.main(["calibrate", "take", "board.png"]) == 0
    assert spotgrid.main(["calibrate", "take", "black.png"]) == 1
    assert "dark: the picture is dark" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["take", "none.jpg"], 2, "no such file or folder"),
        (["take", "sheet.png", "--count", "0"], 2, "--count allows 1 to 10000"),
        (["take", "sheet.png", "--exposure-us", "100"], 2, "cannot be locked from here"),
        (["take", "/dev/video99", "--within-s", "0.5"], 1, "it cannot be opened"),
        (["lens", "r.npz", "--plain", "dim.png"], 0, "written"),
        (["lens", "r.npz", "--plain", "board.png"], 2, "not plain"),
        (["lens", "sheet.png", "--plain", "sheet.png"], 2, "take a new one"),
    ],
)
def test_calls_and_their_answers(words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert spotgrid.main(["calibrate", *words]) == code
    assert message in capsys.readouterr().err


def test_a_lens_is_compared_with_its_reference(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["calibrate", "lens", "reference.npz"]
    assert spotgrid.main([*words, "--plain", "sheet.png", "--sharp", "board.png"]) == 0
    assert spotgrid.main([*words, "--plain", "later.png", "--sharp", "board.png"]) == 0
    assert "as in the reference" in capsys.readouterr().err
    assert spotgrid.main([*words, "--plain", "dim.png", "--sharp", "blurred.png"]) == 1
    said = capsys.readouterr().err
    assert "light: " in said
    assert "blur: " in said


def test_references_keep_what_they_know(folder: Path) -> None:
    Reference.taken(sheet()).save(folder / "r.npz")
    assert Reference.load(folder / "r.npz").sharpness is None
    np.savez(folder / "other.npz", sheet=np.zeros((3, 3)), sharpness=1.0)
    with pytest.raises(RigError, match="it holds no sheet"):
        Reference.load(folder / "other.npz")
