"""A garment that has moved is seen to, and one that cannot be seen is not believed to lie still."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from hardware.registration import Reference
from hardware.simulation import plain

CLOTH = plain(size_mm=(150, 150)).looks.stained


def moved(dx_px: float, dy_px: float, noise: float = 1.0) -> NDArray[np.uint8]:
    move = np.array([[1, 0, dx_px], [0, 1, dy_px]], dtype=np.float64)
    shifted = cv2.warpAffine(CLOTH, move, CLOTH.shape[1::-1], borderMode=cv2.BORDER_REPLICATE).astype(np.float64)
    noisy = shifted + np.random.default_rng(0).normal(0, noise, shifted.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("shift_mm", [0.0, 0.5, 1.5, 4.0])
def test_a_move_is_measured_to_a_quarter_millimetre(shift_mm: float) -> None:
    found = Reference(moved(0, 0), 0.25).moved_mm(moved(shift_mm * 4, 0))
    assert found == pytest.approx(shift_mm, abs=0.25)


def test_what_cannot_be_told_is_not_known() -> None:
    reference = Reference(moved(0, 0), 0.25)
    assert reference.moved_mm(np.full_like(CLOTH, 128)) is None
    assert reference.moved_mm(CLOTH[:-40]) is None
    assert reference.moved_mm(np.ascontiguousarray(CLOTH[::-1])) is None
    plain_sheet = Reference(np.full_like(CLOTH, 200), 0.25)
    assert not plain_sheet.usable
    assert plain_sheet.moved_mm(np.full_like(CLOTH, 200)) is None


def test_treated_cells_may_change() -> None:
    avoid = np.zeros(CLOTH.shape[:2], dtype=np.bool_)
    avoid[200:400, 200:400] = True
    after = moved(0, 0)
    after[200:400, 200:400] = 255
    assert Reference(moved(0, 0), 0.25, avoid).moved_mm(after) == 0
