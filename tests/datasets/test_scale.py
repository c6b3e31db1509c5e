from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from datasets.scale import from_line, from_marker, length_of_label


def marked(side_px: int, quad: list[list[float]] | None = None) -> NDArray[np.uint8]:
    """Cloth of 600 x 500 px with a marker of `side_px`, or warped to a quad."""
    marker = cv2.aruco.generateImageMarker(cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50), 7, side_px)
    cloth = np.full((500, 600), 200, np.uint8)
    if quad is None:
        cloth[100 : 100 + side_px, 150 : 150 + side_px] = marker
    else:
        corners = np.array([[0, 0], [side_px, 0], [side_px, side_px], [0, side_px]], np.float32)
        warp = cv2.getPerspectiveTransform(corners, np.array(quad, np.float32))
        laid = cv2.warpPerspective(marker, warp, (600, 500), borderValue=(200,))
        cloth = np.asarray(laid, np.uint8)
    return np.repeat(cloth[:, :, None], 3, axis=2)


@pytest.mark.parametrize(("side_px", "side_mm"), [(120, 30.0), (60, 30.0), (200, 20.0)])
def test_a_marker_tells_the_scale(side_px: int, side_mm: float) -> None:
    assert from_marker(marked(side_px), side_mm) == pytest.approx(side_mm / side_px, rel=0.02)


def test_a_turned_marker_tells_the_same() -> None:
    quad = [[300.0, 100.0], [400.0, 200.0], [300.0, 300.0], [200.0, 200.0]]
    assert from_marker(marked(120, quad), 30) == pytest.approx(30 / np.hypot(100, 100), rel=0.02)


def test_a_marker_at_a_slant_or_none_is_refused() -> None:
    with pytest.raises(ValueError, match="straight above"):
        from_marker(marked(120, [[200.0, 100.0], [330.0, 130.0], [330.0, 220.0], [200.0, 250.0]]), 30)
    with pytest.raises(ValueError, match="no ArUco marker"):
        from_marker(np.full((80, 80, 3), 200, np.uint8), 30)
    with pytest.raises(ValueError, match="above 0"):
        from_marker(marked(120), 0)
    with pytest.raises(ValueError, match=r"0\.02 to 5"):
        from_marker(marked(120), 3000)


def test_a_tape_tells_the_scale_along_its_bends() -> None:
    assert from_line([[0, 0], [300, 0], [300, 100]], 100) == pytest.approx(0.25)
    for line in ([[0.0, 0.0]], [[0.0, 0.0], [5.0, 5.0]], [[0.0, 0.0], [float("nan"), 50.0]]):
        with pytest.raises(ValueError, match="20 px"):
            from_line(line, 100)


@pytest.mark.parametrize(
    ("label", "length"),
    [("scale 100 mm", 100.0), ("Scale_10cm", 100.0), ("scale-2.5-cm", 25.0), ("scale", None), ("coffee", None)],
)
def test_labels_tell_lengths(label: str, length: float | None) -> None:
    assert length_of_label(label) == length
