"""The gallery of sources and cloths: every tile is there, and the picture in docs is what the renderer draws."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.gallery import COLUMNS, Gallery, main
from model.taxonomy import SOURCES


def test_a_tile_shows_its_stain_in_its_middle() -> None:
    one = Gallery().tile("blood", "white plain").astype(int)
    assert one.shape == (112, 112, 3)
    assert np.abs(one[45:67, 45:67].mean((0, 1)) - one[:10].mean((0, 1))).max() > 40


def test_every_cloth_can_be_woven() -> None:
    page = Gallery(sources=("ink",)).draw()
    assert page.shape[1] > 112 * len(COLUMNS)
    assert len({page[60:70, 130 + 114 * n : 140 + 114 * n].tobytes() for n in range(len(COLUMNS))}) == len(COLUMNS)


def test_a_picture_of_no_known_kind_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Gallery, "draw", lambda self: np.zeros((4, 4, 3), np.uint8))
    assert main(["--out", str(tmp_path / "g.webp")]) == 0
    assert main(["--out", str(tmp_path / "g.doc")]) == 1
    assert "name a .webp" in capsys.readouterr().err


@pytest.mark.slow
def test_the_picture_in_docs_is_what_the_renderer_draws(repo_root: Path) -> None:
    kept = cv2.imread(str(repo_root / "docs" / "img" / "gallery.webp"), cv2.IMREAD_COLOR)
    assert kept is not None
    page = Gallery().draw()[:, :, ::-1].astype(int)
    assert kept.shape == page.shape
    assert np.abs(kept.astype(int) - page).mean() < 3, "python -m datasets.gallery --out docs/img/gallery.webp"
    assert len(SOURCES) == 24
