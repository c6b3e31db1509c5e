"""The C++ client of the docs, built with Debian's gRPC, against the real service."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.inference_service.client.test_sync import serving
from tests.inference_service.rpc.calls import SCALE, cloth, png
from tests.inference_service.rpc.strips import IMAGE, STRIPS

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).resolve().parents[2]
PACKAGES = "g++ make pkg-config libgrpc++-dev libprotobuf-dev protobuf-compiler-grpc"
TOOLS = ("g++", "make", "pkg-config", "protoc", "grpc_cpp_plugin")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing or subprocess.run(["pkg-config", "--exists", "grpc++", "protobuf"], check=False).returncode:
        pytest.skip(f"needs Debian's gRPC for C++: apt-get install {PACKAGES}")
    folder = tmp_path_factory.mktemp("cpp")
    for path in (ROOT / "docs" / "clients" / "cpp").iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    command = ["make", f"PROTO={ROOT / 'inference_service' / 'proto'}", "CXXFLAGS=-O0 -Wall -Wextra -Werror"]
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900, check=False)
    assert built.returncode == 0, built.stderr[-4000:]
    return folder / "spotgrid_client"


def run(client: Path, key: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SPOTGRID_KEY": key}
    command = [str(client), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def cells(printed: str) -> list[tuple[int, int, int]]:
    """(row, col, mm²) of each line."""
    words = [line.split() for line in printed.splitlines()]
    return sorted((int(word[0]), int(word[1]), int(word[4])) for word in words)


def test_the_cpp_client_detects_scans_and_tells_refusals(client: Path, tmp_path: Path) -> None:
    (tmp_path / "cloth.png").write_bytes(png(cloth()))
    paths = [tmp_path / f"strip{n:02}.png" for n in range(len(STRIPS))]
    for path, strip in zip(paths, STRIPS, strict=True):
        path.write_bytes(strip)
    with serving(tmp_path) as called:
        key, picture = called.keys["detect"], str(tmp_path / "cloth.png")
        with called.service.engine.lease() as detector:
            one, whole = (detector.detect(image, mm_per_px=SCALE) for image in (cloth(), IMAGE))
        done = run(client, key, called.address, "detect", str(SCALE), picture)
        assert done.returncode == 0, done.stderr
        assert cells(done.stdout) == [(c["row"], c["col"], int(c["area_mm2"])) for c in one.to_json()["cells"]]
        scan = ("scan", str(SCALE), str(IMAGE.shape[1]), "scan-00000001")
        for _ in range(2):  # the second one finds the scan done, and is given everything again
            done = run(client, key, called.address, *scan, *map(str, paths))
            assert done.returncode == 0, done.stderr
            assert cells(done.stdout) == [(c["row"], c["col"], int(c["area_mm2"])) for c in whole.to_json()["cells"]]
        for wrong_key, slug in ((called.keys["report"], "scope"), ("sg_x", "no-key")):
            done = run(client, wrong_key, called.address, "detect", str(SCALE), picture)
            assert (done.returncode, done.stderr.split(":")[0]) == (1, slug)
        done = run(client, key, "127.0.0.1:1", "detect", str(SCALE), picture)
        assert (done.returncode, done.stderr.split(":")[0]) == (1, "unreachable")
    assert run(client, key).returncode == 2
