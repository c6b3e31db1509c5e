"""`spotgrid detect` as a user runs it: a process of its own, pipes, signals, and files as they come."""

from __future__ import annotations

import io
import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.onnx_file import SHIPPED
from tests.model.toy_onnx import write_toy

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, str(ROOT / "spotgrid.py"))


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy(tmp_path_factory.mktemp("toy") / "toy.onnx", settings={"tile_px": 256, "halo_px": 32})


def detect(*words: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [*COMMAND, "detect", *map(str, words)]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=120, check=False)


def picture(kind: str, **options: object) -> bytes:
    image = np.full((120, 200, 3), 230, dtype=np.uint8)
    image[44:54, 64:74] = (80, 5, 5)
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()


def bomb() -> bytes:
    """200 megapixels of black in a PNG of 200 kB."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    packer = zlib.compressobj(9)
    rows = b"".join([*(packer.compress(bytes(20_001)) for _ in range(10_000)), packer.flush()])
    header = struct.pack(">IIBBBBB", 20_000, 10_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_a_basket_of_good_and_bad_pictures(tmp_path: Path, toy: Path) -> None:
    good = {"a.png": picture("PNG"), "b.jpg": picture("JPEG", quality=92), "c.tif": picture("TIFF")}
    bad = {"bomb.png": bomb(), "cut.jpg": picture("JPEG")[:900], "empty.png": b"", "note.jpg": b"buy milk\n"}
    for name, data in (good | bad).items():
        (tmp_path / name).write_bytes(data)
    started = time.monotonic()
    done = detect(*(tmp_path / n for n in [*bad, *good, "gone.png"]), "--mm-per-px", 0.5, "--model", toy,
                  "--out", tmp_path / "out")  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == b""
    lines = done.stderr.decode().splitlines()
    assert len(lines) == len(bad) + 1
    for line, name in zip(lines, [*bad, "gone.png"], strict=True):
        assert f"{tmp_path / name}: " in line
    assert "200 megapixels, the limit is 120" in lines[0]
    written = {path.name for path in (tmp_path / "out").iterdir()}
    kinds = ("stainmap.json", "overlay.png", "mask.png")
    assert written == {f"{Path(name).stem}.{kind}" for name in good for kind in kinds}
    assert time.monotonic() - started < 60


def test_standard_input_to_standard_output(toy: Path) -> None:
    done = detect("-", "--mm-per-px", 0.5, "--model", toy, stdin=picture("PNG"))
    assert (done.returncode, done.stderr) == (0, b"")
    found = json.loads(done.stdout)
    assert found["source"] == "stdin"
    assert [(cell["row"], cell["col"]) for cell in found["cells"]] == [(2, 3)]


def test_a_reader_that_leaves_ends_the_call_quietly(tmp_path: Path, toy: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture("PNG"))
    command = [*COMMAND, "detect", *[str(tmp_path / "a.png")] * 8, "--mm-per-px", "0.5", "--model", str(toy)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["source"] == "a.png"
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(60) == 1
    assert said == b""


def test_ctrl_c_stops_with_one_word(tmp_path: Path, toy: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture("PNG"))
    command = [*COMMAND, "detect", *[str(tmp_path / "a.png")] * 1500, "--mm-per-px", "0.5", "--model", str(toy)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == b"spotgrid: stopped\n"


def test_broken_metadata_makes_no_noise(tmp_path: Path, toy: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(picture("JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage"))
    done = detect(tmp_path / "a.jpg", "--mm-per-px", 0.5, "--model", toy)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_large_picture_stays_within_memory(tmp_path: Path, toy: Path) -> None:
    """1.2 m x 1 m at 0.3 mm per px: the float canvas alone would take 230 MB."""
    Image.new("RGB", (4000, 3333), (225, 222, 218)).save(tmp_path / "table.jpg")
    code = (
        "import sys, spotgrid\n"
        "code = spotgrid.main(sys.argv[1:])\n"
        # not ru_maxrss: that starts at what the parent held, and pytest may hold torch
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(int(peak.split()[1]) // 1024, file=sys.stderr)\n"
        "sys.exit(code)"
    )
    words = ["detect", str(tmp_path / "table.jpg"), "--mm-per-px", "0.3", "--model", str(toy)]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, timeout=120, check=False,
        env={**os.environ, "MALLOC_ARENA_MAX": "2"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stderr.splitlines()[-1]) < 500


def test_the_shipped_network_finds_a_plain_stain_on_plain_cloth(tmp_path: Path) -> None:
    if not SHIPPED.is_file():
        pytest.skip("needs model/weights/spotgrid-s.onnx: train and export a network first (docs/research.md)")
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:480, :640]
    stain = 1 / (1 + np.exp((np.hypot(x - 320, y - 240) - 40) / 2))  # 20 mm across, soft rim
    weave = 228 + 4 * np.sin(x * 0.9) * np.sin(y * 0.9) + rng.normal(0, 2, (480, 640))
    image = weave[:, :, None] * (1 - stain[:, :, None] * np.array([0.35, 0.55, 0.75]))
    Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(tmp_path / "cloth.png")
    done = detect(tmp_path / "cloth.png", "--mm-per-px", 0.25)
    assert done.returncode == 0, done.stderr
    cells = {(cell["row"], cell["col"]) for cell in json.loads(done.stdout)["cells"]}
    truth = {(row, col) for row in (5, 6) for col in (7, 8)}
    assert truth <= cells
    assert len(cells - {(row, col) for row in range(4, 8) for col in range(6, 10)}) <= 3
