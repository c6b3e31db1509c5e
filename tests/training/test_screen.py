"""The screen learns what a close look lists, keeps what it must and says what that costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.cells import cell_confidence
from model.onnx_file import OnnxFile
from tests.model.toy_onnx import write_toy
from training import screen
from training.export import ExportError
from training.screen_head import Screen, Trained

TILES = [[64, 16], [32, 24], [64, 16]]


@pytest.fixture
def network(tmp_path: Path) -> OnnxFile:
    return OnnxFile(write_toy(tmp_path / "toy.onnx", settings={"tiles": TILES}), threads=1)


def dotted(seed: int) -> NDArray[np.uint8]:
    """Pale cloth of 12 x 12 cm with three dark dots of 1 cm."""
    rng = np.random.default_rng(seed)
    image = np.clip(rng.normal(220, 4, (480, 480, 3)), 0, 255).astype(np.uint8)
    for y, x in rng.integers(0, 440, (3, 2)):
        image[y : y + 40, x : x + 40] = 30
    return image


def test_a_lesson_holds_what_a_close_look_lists(network: OnnxFile) -> None:
    image = np.full((480, 480, 3), 220, dtype=np.uint8)
    image[80:120, 200:240] = 30
    (lesson,) = screen.lessons(network, [image])
    assert [features.shape for features in lesson.features] == [(3, 30, 30), (3, 60, 60)]
    assert [taught.shape for taught in lesson.taught] == [(30, 30), (60, 60)]
    assert lesson.listed.shape == (12, 12)
    assert lesson.listed[2, 5]
    for taught, mm in zip(lesson.taught, (4, 2), strict=True):
        y, x = np.argwhere(taught).mean(axis=0) * mm + mm / 2
        assert (y, x) == pytest.approx((25, 55), abs=2)


def test_stained_mm2_are_those_of_listed_cells() -> None:
    logit = np.full((10, 20), -9.0, dtype=np.float32)
    logit[3, 4], logit[5, 5], logit[2, 12], logit[7, 18] = 2.0, -1.0, -0.5, 1.0
    listed = np.array([[True, False]])
    assert np.argwhere(screen.stained_mm2(logit, listed)).tolist() == [[3, 4]]
    assert np.argwhere(screen.stained_mm2(logit - 3, listed)).tolist() == [[3, 4]]  # its strongest one at least
    assert not screen.stained_mm2(logit, ~listed & listed).any()


def test_a_screen_learns_to_tell_dots_from_cloth(network: OnnxFile) -> None:
    torch.manual_seed(0)
    known = list(screen.lessons(network, map(dotted, range(6))))
    head = Screen(3, 2)
    screen.fit(head, known, [4, 8], steps=60)
    found = screen.squares(head.eval(), network, screen.lessons(network, map(dotted, range(20, 24))))
    assert found.score.shape == (4 * 64, 2)
    assert int(found.cells.sum()) > 20
    thresholds, says = screen.choose(found, screen.tile_costs(network), lost=0.02)
    assert says["lost"] <= 0.02
    assert says["looked_at_1"] >= says["looked_at_2"] >= (found.cells > 0).mean() * 0.9
    assert (np.median(found.score[found.cells > 0], axis=0) > np.median(found.score[found.cells == 0], axis=0)).all()
    assert len(thresholds) == 2


def test_the_cheapest_thresholds_within_the_loss_are_chosen() -> None:
    score = np.array([[5, 5], [4, 1], [0, 4], [-1, -1], [-1, 3], [-2, 9]], dtype=np.float32)
    cells = np.array([10, 10, 1, 0, 0, 0])
    kept, says = screen.choose(screen.Squares(score, cells), [1.0, 4.0], lost=0.0)
    assert (says["lost"], says["looked_at_1"], says["looked_at_2"]) == (0.0, 0.5, 0.5)
    assert kept[0] == pytest.approx(0, abs=0.01)
    assert says["work"] == pytest.approx(0.5)


def test_costs_count_halos_and_shared_tiles(network: OnnxFile) -> None:
    assert screen.tile_costs(network) == [80.0**2, 96.0**2]


def test_a_run_keeps_its_screen(tmp_path: Path) -> None:
    assert Trained.load(tmp_path) is None
    head = Screen(3, 2).eval()
    Trained(head, (0.5, -1.0), {"lost": 0.001}).save(tmp_path)
    again = Trained.load(tmp_path)
    assert again is not None
    assert (again.thresholds, again.origin) == ((0.5, -1.0), {"lost": 0.001})
    features = torch.rand(1, 3, 4, 5)
    assert torch.equal(again.head(features), head(features))
    torch.save({"schema": "other"}, tmp_path / "screen.pt")
    with pytest.raises(ValueError, match="train the screen again"):
        Trained.load(tmp_path)


def test_a_run_that_fails_keeps_the_screen_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Trained(Screen(3, 2).eval(), (0.5, -1.0), {"lost": 0.001, "taught_scenes": 1, "steps": 1}).save(tmp_path)
    before, seen = (tmp_path / "screen.pt").read_bytes(), list[bool]()

    def fail(checkpoint: Path, *rest: object) -> None:
        seen.append((checkpoint.parent / "screen.pt").is_file())
        raise ExportError("cut here")

    (tmp_path / "last.pt").touch()
    monkeypatch.setattr(screen, "export", fail)
    assert screen.main(["--check", str(tmp_path), "--run", str(tmp_path), "--keep-head"]) == 1
    assert "cut here" in capsys.readouterr().err
    assert seen == [False], "the teacher looks everywhere, without it"
    assert (tmp_path / "screen.pt").read_bytes() == before


def test_a_check_says_what_is_lost(tmp_path: Path) -> None:
    settings = {"tiles": TILES, "screen": {"thresholds": [9.0, 9.0]}}
    path = write_toy(tmp_path / "blind.onnx", settings=settings, screens=2)
    found = screen.check(path, [dotted(1)], threads=1)
    assert found["lost_cells"] == found["listed_cells"] > 0
    assert found["lost_share"] == 1.0


def test_wrong_calls_say_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert screen.main(["--check", str(tmp_path)]) == 1
    assert "give --run and --scenes" in capsys.readouterr().err
    assert screen.main(["--check", str(tmp_path), "--file", str(tmp_path / "none.onnx")]) == 1
    assert "no rendered scene there" in capsys.readouterr().err
    (tmp_path / "last.pt").touch()
    assert screen.main(["--check", str(tmp_path), "--run", str(tmp_path), "--keep-head"]) == 1
    assert "train one with --scenes" in capsys.readouterr().err


def test_places_of_one_square_are_counted_together(network: OnnxFile) -> None:
    logit = np.full((20, 20), -9.0, dtype=np.float32)
    assert (cell_confidence(logit, network.info.cell_head) < 0.5).all()
    stained = np.zeros((10, 7), dtype=np.bool_)
    stained[9, 6] = True
    assert np.argwhere(screen._any(stained, 4)).tolist() == [[2, 1]]
