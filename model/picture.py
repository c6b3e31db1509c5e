"""A picture file becomes RGB pixels, or one line that says why it cannot.

Pictures come from strangers: phones, cameras, web forms. So the header is read first and alone, and a picture that
would take too much memory is refused before a pixel is decoded. Colour profiles are not applied: pixels count as sRGB.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

MAX_MEGAPIXELS: Final = 120.0
"""Default limit on a picture's size: above every camera sold for garments, 360 MB of memory as RGB."""
STDIN: Final = "-"

_BYTES_PER_PX: Final = 8
"""The heaviest layout that we read: RGBA with 16 bits a channel, not compressed."""
_EXIF_ORIENTATION: Final = 0x0112
_FORMATS: Final = "JPEG, PNG, TIFF, WebP and BMP"

_Opener = Callable[[BytesIO], ImageFile.ImageFile]
# The plugins are called by themselves, since Image.open warns at its own limit, which only a global can move.
_OPENERS: Final[tuple[tuple[bytes, _Opener], ...]] = (
    (b"\xff\xd8\xff", JpegImagePlugin.JpegImageFile),
    (b"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    (b"II*\0", TiffImagePlugin.TiffImageFile),
    (b"MM\0*", TiffImagePlugin.TiffImageFile),
    (b"RIFF", WebPImagePlugin.WebPImageFile),
    (b"BM", BmpImagePlugin.BmpImageFile),
)
_TURNS: Final[dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]]] = {
    2: lambda px: px[:, ::-1],
    3: lambda px: px[::-1, ::-1],
    4: lambda px: px[::-1],
    5: lambda px: px.transpose(1, 0, 2),
    6: lambda px: px.transpose(1, 0, 2)[:, ::-1],
    7: lambda px: px.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda px: px.transpose(1, 0, 2)[::-1],
}
"""What each EXIF orientation asks for, so that the picture stands as it was seen (EXIF 2.32, table 6); 1 = nothing."""


class PictureError(Exception):
    """A picture cannot be read; the message is one line: the file, the reason, the next step."""

    def __init__(self, name: str, reason: str, next_step: str) -> None:
        super().__init__(f"{name}: {reason}; {next_step}")


def read_picture(
    source: str | Path | bytes, *, name: str | None = None, max_megapixels: float = MAX_MEGAPIXELS
) -> NDArray[np.uint8]:
    """Decode a picture to RGB as a person sees it: upright by its EXIF orientation, 8 bits a channel.

    Grey becomes three equal channels; 16 bits are scaled by full range (65535 -> 255); palettes and CMYK are converted.
    Transparent parts are laid over white: that is how a cut-out is looked at, and white at full scale counts as a
    clipped highlight, so cells where nothing was photographed come out as unseen instead of as clean.

    Args:
        source: a path, ``"-"`` for standard input, or the file's bytes.
        name: what messages call the picture; by default its path.
        max_megapixels: refuse pictures with more millions of pixels, before they are decoded.

    Returns:
        uint8 (height, width, 3), RGB, contiguous.

    Raises:
        PictureError: missing, unreadable, empty, not a picture, of a kind we do not read, too large, damaged, cut off.
    """
    shown, data = _load(source, name, max_megapixels)
    image = _open(data, shown, max_megapixels)
    try:
        pixels = _decode_jpeg(data) if isinstance(image, JpegImagePlugin.JpegImageFile) else None
        pixels = _to_rgb(image, shown) if pixels is None else pixels
        turn = _TURNS.get(_orientation(image))
    except PictureError:
        raise
    except Exception as error:  # a hostile file can make a decoder raise anything
        raise _damaged(shown, error) from None
    return pixels if turn is None else np.ascontiguousarray(turn(pixels))


def stored_size(data: bytes, *, name: str = "picture", max_megapixels: float = MAX_MEGAPIXELS) -> tuple[int, int]:
    """(width, height) in px from the header alone, before EXIF rotation: what admission needs, at no cost.

    Raises:
        PictureError: as `read_picture`, for what a header can show.
    """
    shown, data = _load(data, name, max_megapixels)
    return _open(data, shown, max_megapixels).size


def _load(source: str | Path | bytes, name: str | None, max_megapixels: float) -> tuple[str, bytes]:
    """The picture's name for messages and its bytes, never more of them than a legal picture needs."""
    if not max_megapixels > 0:
        raise ValueError(f"max_megapixels is {max_megapixels}; it must be above 0 (default {MAX_MEGAPIXELS:g})")
    limit = int(max_megapixels * 1e6 * _BYTES_PER_PX) + (1 << 20)
    if isinstance(source, bytes):
        shown, data = name or "picture", source
    elif str(source) == STDIN:
        shown, data = name or "stdin", sys.stdin.buffer.read(limit + 1)
    else:
        shown = name or str(source)
        data = _read_file(Path(source), shown, limit)
    if not data:
        raise PictureError(shown, "the file is empty", "take or copy the picture again")
    if len(data) > limit:
        raise PictureError(shown, f"the file is over {limit >> 20} MiB", "send a smaller picture or raise the limit")
    return shown, data


def _read_file(path: Path, shown: str, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except FileNotFoundError:
        raise PictureError(shown, "no such file", "check the path") from None
    except IsADirectoryError:
        raise PictureError(shown, "this is a folder", f"name the pictures in it, for example {shown}/*.jpg") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise PictureError(shown, f"cannot be read ({reason})", "check the path and its permissions") from None


def _open(data: bytes, shown: str, max_megapixels: float) -> ImageFile.ImageFile:
    """Parse the header; no pixel is decoded.

    Raises:
        PictureError: not a picture that we read, a broken header, or more pixels than allowed.
    """
    opener = next((opener for magic, opener in _OPENERS if data.startswith(magic)), None)
    if opener is None:
        if data[4:8] == b"ftyp":
            raise PictureError(shown, "HEIC and AVIF are not read", "export it as JPEG or PNG")
        raise PictureError(shown, f"not a picture that can be read ({_FORMATS})", "check the file or convert it")
    try:
        image = opener(BytesIO(data))
        width, height = image.size
    except Image.DecompressionBombError:
        raise PictureError(shown, "the picture has far too many pixels", "send a smaller picture") from None
    except Exception as error:  # a hostile header can make a parser raise anything
        raise _damaged(shown, error) from None
    if width * height > round(max_megapixels * 1e6):
        raise PictureError(
            shown,
            f"{width} x {height} px is {width * height / 1e6:.0f} megapixels, the limit is {max_megapixels:g}",
            "send a smaller picture or raise the limit",
        )
    return image


def _damaged(shown: str, error: Exception) -> PictureError:
    if "truncated" in str(error).lower():
        return PictureError(shown, "the file ends before its picture does (truncated)", "copy or take it again")
    return PictureError(shown, f"the file is damaged ({str(error) or type(error).__name__})", "copy or take it again")


def _orientation(image: ImageFile.ImageFile) -> int:
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # broken EXIF is common and no reason to refuse a good picture
        return 1


def _decode_jpeg(data: bytes) -> NDArray[np.uint8] | None:
    """A JPEG by libjpeg-turbo, straight into one array: 75 ms for 12 megapixels where Pillow takes 290 (measured).

    Returns:
        uint8 (height, width, 3) RGB, or None where it objects (CMYK, harmless stray bytes, a truncated file): Pillow
        then decodes it or says what is wrong.
    """
    import simplejpeg  # type: ignore[import-untyped]

    try:
        return np.asarray(simplejpeg.decode_jpeg(data, colorspace="RGB", fastdct=False, fastupsample=False))
    except ValueError:
        return None


def _to_rgb(image: ImageFile.ImageFile, shown: str) -> NDArray[np.uint8]:
    """Decode any layout that Pillow opens to uint8 (height, width, 3) RGB."""
    image.load()
    if image.mode == "F":
        raise PictureError(shown, "floating point pixels have no agreed range", "save it with 8 or 16 bits a channel")
    if image.mode.startswith("I"):
        grey = np.asarray(image)
        if grey.min() < 0 or grey.max() > 65535:
            raise PictureError(shown, "it has more than 16 bits a channel", "save it with 8 or 16 bits a channel")
        scaled = ((grey.astype(np.uint32) + 128) // 257).astype(np.uint8)  # 65535 = 255 · 257, rounded to nearest
        return np.repeat(scaled[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return np.asarray(Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB"))
    return np.asarray(image.convert("RGB"))
