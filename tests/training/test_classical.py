from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.classical import ClassicalDetector


def cloth(seed: int = 0, side: int = 800) -> NDArray[np.uint8]:
    return np.clip(np.random.default_rng(seed).normal(200, 6, (side, side, 3)), 0, 255).astype(np.uint8)


def listed(image: NDArray[np.uint8], mm_per_px: float = 0.25) -> list[list[int]]:
    detector = ClassicalDetector()
    places: list[list[int]] = np.argwhere(detector.look(image, mm_per_px).confidence >= detector.threshold).tolist()
    return places


def test_clean_noisy_cloth_is_clean() -> None:
    assert listed(cloth()) == []


def test_a_strong_stain_is_found_where_it_is() -> None:
    image = cloth()
    image[404:436, 604:636] = (150, 110, 80)
    assert listed(image) == [[10, 15]]


def test_one_square_millimetre_is_found() -> None:
    image = cloth()
    image[400:404, 600:604] = (60, 40, 30)
    assert listed(image) == [[10, 15]]


def test_a_wide_gradient_is_no_stain() -> None:
    shade = np.linspace(120, 230, 800)[None, :, None]
    assert listed(np.broadcast_to(shade, (800, 800, 3)).astype(np.uint8)) == []


def test_what_is_stained_is_told_per_square_millimetre() -> None:
    image = cloth()
    image[404:436, 604:636] = (150, 110, 80)
    prediction = ClassicalDetector().look(image, 0.25)
    assert prediction.stained.sum() == 64
    assert prediction.stained[101:109, 151:159].all()
    assert not ClassicalDetector().names_chemistry


def test_any_size_and_scale_gives_whole_cells() -> None:
    assert ClassicalDetector().look(cloth(side=61), 1.7).confidence.shape == (11, 11)
    assert ClassicalDetector().look(np.full((1, 1, 3), 128, np.uint8), 0.25).confidence.shape == (1, 1)


def test_cells_are_those_of_the_grid_where_a_picture_ends_in_part_of_a_mm() -> None:
    image = cloth(side=60)[:53]
    assert ClassicalDetector().look(image, 1.7).confidence.shape == (10, 11)  # 90.1 x 102 mm
