"""Every kind of picture comes out as the same upright RGB; every bad one as one line that teaches."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from model.picture import PictureError, read_picture, stored_size

RED, WHITE = (200, 30, 20), (255, 255, 255)


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def scene() -> NDArray[np.uint8]:
    """uint8 (24, 40, 3): smooth, and different under each of the eight EXIF orientations."""
    y, x = np.mgrid[:24, :40]
    return np.stack([60 + 4 * x, 90 + 5 * y, np.full_like(x, 120)], axis=2).astype(np.uint8)


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of a few dozen bytes whose header claims any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "WEBP"])
def test_lossless_formats_give_their_pixels(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    pixels = read_picture(encode(Image.fromarray(scene()), kind, **options))
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels, scene())


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": "4:2:0"}])
def test_a_jpeg_decodes_as_pillow_decodes_it(options: dict[str, object]) -> None:
    data = encode(Image.fromarray(scene()), "JPEG", quality=95, **options)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.abs(read_picture(data).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_put_upright(orientation: int, kind: str) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(Image.fromarray(scene()), kind, exif=exif, **options)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    assert expected.shape[:2] == ((40, 24) if orientation > 4 else (24, 40))
    pixels = read_picture(data)
    assert pixels.flags.c_contiguous
    assert np.abs(pixels.astype(int) - expected).max() <= 1


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_is_no_reason_to_refuse() -> None:
    data = encode(Image.fromarray(scene()), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")
    assert read_picture(data).shape == (24, 40, 3)


def test_grey_becomes_three_equal_channels() -> None:
    grey = scene()[:, :, 0]
    for kind in ("PNG", "JPEG"):
        pixels = read_picture(encode(Image.fromarray(grey), kind))
        assert (pixels == pixels[:, :, :1]).all()
        assert np.abs(pixels[:, :, 0].astype(int) - grey).max() <= 2


def test_sixteen_bits_are_scaled_by_full_range() -> None:
    grey = np.array([[0, 128, 129, 257, 32767, 65406, 65407, 65535]], dtype=np.uint16)
    for kind in ("PNG", "TIFF"):
        pixels = read_picture(encode(Image.fromarray(grey), kind))
        np.testing.assert_array_equal(pixels[0, :, 0], [0, 0, 1, 1, 127, 254, 255, 255])


def test_sixteen_bit_colour_keeps_eight() -> None:
    import cv2

    colour = scene().astype(np.uint16) * 257
    data = cv2.imencode(".png", np.ascontiguousarray(colour[:, :, ::-1]))[1].tobytes()
    np.testing.assert_array_equal(read_picture(data), scene())


def test_transparent_parts_lie_over_white() -> None:
    rgba = np.zeros((2, 3, 4), dtype=np.uint8)
    rgba[0] = (*RED, 255)
    rgba[1, 1] = (*RED, 128)
    pixels = read_picture(encode(Image.fromarray(rgba)))
    assert tuple(pixels[0, 0]) == RED
    assert tuple(pixels[1, 0]) == WHITE
    assert np.abs(pixels[1, 1].astype(int) - (np.array(RED) + WHITE) / 2).max() <= 1


def test_palettes_with_a_transparent_entry_lie_over_white() -> None:
    image = Image.new("P", (4, 2), 0)
    image.putpalette([*RED, 0, 90, 0])
    image.putpixel((3, 1), 1)
    pixels = read_picture(encode(image, transparency=1))
    assert tuple(pixels[0, 0]) == RED
    assert tuple(pixels[1, 3]) == WHITE


def test_black_and_white_bits_are_read() -> None:
    image = Image.new("1", (9, 3), 0)
    image.putpixel((4, 1), 1)
    assert read_picture(encode(image)).sum() == 3 * 255


def test_cmyk_is_converted() -> None:
    data = encode(Image.new("RGB", (16, 16), RED).convert("CMYK"), "JPEG", quality=98)
    assert np.abs(read_picture(data).astype(int) - RED).max() <= 6


def test_a_path_and_standard_input_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(Image.fromarray(scene()))
    path = tmp_path / "coat.png"
    path.write_bytes(data)
    np.testing.assert_array_equal(read_picture(path), scene())
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    np.testing.assert_array_equal(read_picture("-"), scene())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "WEBP"])
@pytest.mark.parametrize("kept", [0.05, 0.5, 0.9])
def test_truncated_pictures_are_refused(kind: str, kept: float) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise), kind)
    with pytest.raises(PictureError, match=r"^coat: the file (ends before|is damaged).*; copy or take it again$"):
        read_picture(data[: int(len(data) * kept)], name="coat")


def test_a_jpeg_that_lost_its_last_block_is_truncated() -> None:
    data = encode(Image.fromarray(scene()), "JPEG")
    with pytest.raises(PictureError, match="truncated"):
        read_picture(data[:-20])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"hello, this is a letter", r"not a picture that can be read \(JPEG, PNG, TIFF, WebP and BMP\)"),
        (b"\xff\xd8\xff", "damaged"),
        (b"RIFF\0\0\0\0WAVEfmt ", "damaged"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC and AVIF are not read; export it as JPEG or PNG"),
        (b"BM", "damaged"),
    ],
)
def test_what_is_no_picture_is_refused_in_one_line(data: bytes, reason: str) -> None:
    with pytest.raises(PictureError, match=reason) as caught:
        read_picture(data, name="letter.txt")
    assert str(caught.value).startswith("letter.txt: ")
    assert "; " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"nowhere\.png: no such file; check the path"):
        read_picture(tmp_path / "nowhere.png")
    with pytest.raises(PictureError, match=r"this is a folder; name the pictures in it"):
        read_picture(tmp_path)
    with pytest.raises(PictureError, match="cannot be read"):
        read_picture("a\0b")


@pytest.mark.parametrize("side", [(20_000, 10_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_refused_by_its_header(side: tuple[int, int]) -> None:
    for read in (read_picture, stored_size):
        with pytest.raises(PictureError, match="megapixels, the limit is 120; send a smaller picture"):
            read(png_claiming(*side), name="bomb.png")


def test_pictures_between_pillows_limit_and_ours_pass_without_a_warning() -> None:
    assert stored_size(png_claiming(11_000, 10_000)) == (11_000, 10_000)  # Image.open would warn at 89 megapixels


def test_the_limit_can_be_set() -> None:
    data = encode(Image.new("L", (1000, 1001)))
    assert read_picture(data, max_megapixels=1.001).shape == (1001, 1000, 3)
    with pytest.raises(PictureError, match="the limit is 1;"):
        read_picture(data, max_megapixels=1)
    with pytest.raises(ValueError, match="max_megapixels is 0; it must be above 0"):
        read_picture(data, max_megapixels=0)


def test_no_more_bytes_are_read_than_a_legal_picture_needs() -> None:
    with pytest.raises(PictureError, match="the file is over 1 MiB"):
        read_picture(b"\xff\xd8\xff" + bytes(2 << 20), max_megapixels=0.01)


def test_pixels_without_an_agreed_range_are_refused() -> None:
    floating = encode(Image.fromarray(np.ones((2, 2), dtype=np.float32)), "TIFF")
    with pytest.raises(PictureError, match="floating point"):
        read_picture(floating)
    wide = encode(Image.fromarray(np.full((2, 2), 70_000, dtype=np.int32)), "TIFF")
    with pytest.raises(PictureError, match="more than 16 bits"):
        read_picture(wide)
