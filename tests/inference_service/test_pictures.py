"""Bytes to pixels: size and header first, then the decoder; every refusal says what is allowed."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from inference_service.errors import ServiceError
from inference_service.pictures import check_size, decode
from model.picture import read_picture
from tests.inference_service.kit import picture

LIMITS = {"max_body_bytes": 1 << 20, "max_pixels": 24_000}


def encoded(kind: str) -> bytes:
    out = BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(out, kind)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_pixels_are_those_of_the_reader(kind: str) -> None:
    data = picture(kind)
    assert np.array_equal(decode(data, **LIMITS), read_picture(data))


@pytest.mark.parametrize(
    ("data", "slug", "told"),
    [
        (bytes((1 << 20) + 1), "too-large", "max_body_bytes"),
        (picture(width=200, height=121), "too-large", "200 x 121 px; at most 24000"),
        (picture(width=4000, height=4000), "too-large", "pixels"),
        (b"", "bad-picture", "neither JPEG nor PNG"),
        (b"GIF89a", "bad-picture", "neither JPEG nor PNG"),
        (encoded("TIFF"), "bad-picture", "neither JPEG nor PNG"),
        (encoded("BMP"), "bad-picture", "neither JPEG nor PNG"),
        (picture("JPEG")[:300], "bad-picture", "truncated"),
        (picture()[:60], "bad-picture", "truncated"),
    ],
)
def test_what_is_refused_and_how(data: bytes, slug: str, told: str) -> None:
    with pytest.raises(ServiceError) as caught:
        decode(data, **LIMITS)
    assert caught.value.kind.slug == slug
    assert told in caught.value.detail


def test_the_limits_themselves_are_allowed() -> None:
    check_size(10, 10)
    with pytest.raises(ServiceError):
        check_size(11, 10)
    assert decode(picture(width=200, height=120), **LIMITS).shape == (120, 200, 3)
