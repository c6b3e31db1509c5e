"""What a spotter goes by: colour against the cloth beside it, whatever the lamp, and only what is known."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model.fields import Fields
from model.spotter import EVIDENCE, FEATURES, Spotter, evidence, features_of
from tests.model.toy_onnx import spotter

PAD = -30.0
CLOTH, STAIN = np.array([0.6, 0.55, 0.5]), np.array([0.5, 0.3, 0.1])  # of full light


def seen(light: float = 1.0, cloth: NDArray[Any] = CLOTH) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Cloth of 100 x 80 mm with a stain of 20 x 20 mm, and its logits."""
    linear = np.broadcast_to(cloth * light, (100, 80, 3)).copy()
    linear[30:50, 20:40] = STAIN / CLOTH * cloth * light
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    logit = np.full((100, 80), -5.0, np.float32)
    logit[30:50, 20:40] = 5.0
    return np.rint(255 * srgb).astype(np.uint8), logit


def sums(picture: NDArray[np.uint8], logit: NDArray[np.float32]) -> NDArray[np.float64]:
    y, x = np.nonzero(logit >= 0)
    return np.asarray(evidence(picture, logit, y, x, PAD).sum(axis=1))


def test_a_ratio_is_that_of_light_and_the_lamp_is_no_matter() -> None:
    told = sums(*seen())
    np.testing.assert_allclose(told[1:4] / told[0], np.log((STAIN + 0.01) / (CLOTH + 0.01)), atol=0.02)
    dim = sums(*seen(light=0.6))
    np.testing.assert_allclose(dim[1:4] / dim[0], told[1:4] / told[0], atol=0.06)
    bluish = sums(*seen(cloth=CLOTH * [0.8, 1.0, 1.2]))
    np.testing.assert_allclose(bluish[1:4] / bluish[0], told[1:4] / told[0], atol=0.06)


def test_the_outline_is_told_from_the_inside() -> None:
    told = sums(*seen())
    assert told[0] == 400
    assert told[14] == 4 * 20 - 4


def test_nothing_is_known_where_no_clean_cloth_is_near() -> None:
    picture, logit = seen()
    assert not sums(picture, np.full_like(logit, 5.0)).any()
    beyond = np.where(logit >= 0, logit, np.float32(PAD))  # what lies beyond the picture is no cloth
    assert not sums(picture, beyond).any()
    assert not features_of(np.zeros((1, EVIDENCE))).any()


def test_trust_is_what_each_of_the_two_is_heard_with() -> None:
    told, looks = np.array([0.1, 0.4, 0.1, 0.2, 0.1, 0.1]), sums(*seen())
    network, alone = (replace(spotter(), trust=trust) for trust in ((1.0, 0.0), (0.0, 1.0)))
    np.testing.assert_allclose(network.classes(told, looks), told)
    np.testing.assert_allclose(alone.classes(told, looks), spotter().by_looks(features_of(looks[None])[0]))
    both = spotter().classes(told, looks)
    assert both.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(network.classes(told, np.zeros(EVIDENCE)), told)  # of a blot it could not judge


def test_it_is_read_as_it_was_written() -> None:
    document = json.loads(json.dumps({"spotter": spotter().document()}))
    again = Spotter.read(Fields(document, "model metadata"))
    assert again is not None
    assert again.document() == spotter().document()
    assert Spotter.read(Fields({}, "model metadata")) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"offset": np.zeros(3)}, "do not fit"),
        ({"scale": np.zeros(FEATURES)}, "out of range"),
        ({"layers": ()}, "do not fit"),
        ({"trust": (-1.0, 0.0)}, "out of range"),
        ({"chemistry_of": np.array([0, 1])}, "2 sources' chemistries for 6 outputs"),
        ({"chemistry_of": np.full(6, 9)}, "chemistries"),
    ],
)
def test_one_that_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(spotter(), **changes)
