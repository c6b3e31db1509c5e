"""A caller's bytes become a picture, or a refusal: size and header are looked at before a pixel is decoded."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from inference_service.errors import ServiceError
from model.picture import PictureError, read_picture, stored_size

_MAGIC: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
NAME: Final = "picture"


def check_size(data_bytes: int, max_body_bytes: int) -> None:
    """Refuse a body over the limit.

    Raises:
        ServiceError: too-large.
    """
    if data_bytes > max_body_bytes:
        raise ServiceError(
            "too-large",
            f"the body has {data_bytes} bytes; at most {max_body_bytes} are taken (max_body_bytes): "
            "send a smaller or more compressed picture",
        )


def decode(data: bytes, *, max_body_bytes: int, max_pixels: int) -> NDArray[np.uint8]:
    """A JPEG or PNG as uint8 (H, W, 3) RGB, upright.

    Raises:
        ServiceError: too-large (bytes, or pixels by the header), bad-picture (anything else that is wrong with it).
    """
    check_size(len(data), max_body_bytes)
    if not data.startswith(_MAGIC):
        raise ServiceError("bad-picture", "the body is neither JPEG nor PNG; send the picture file's own bytes")
    try:
        # Twice the limit is let through here, so that a merely large picture is refused in our own words below.
        width, height = stored_size(data, name=NAME, max_megapixels=2 * max_pixels / 1e6 + 1)
        if width * height > max_pixels:
            raise ServiceError(
                "too-large",
                f"the picture has {width} x {height} px; at most {max_pixels} px are taken (max_pixels): "
                "send a smaller picture, or the garment in pieces",
            )
        return read_picture(data, name=NAME, max_megapixels=max_pixels / 1e6)
    except PictureError as error:
        slug = "too-large" if "pixels" in str(error) else "bad-picture"
        raise ServiceError(slug, str(error)) from None
