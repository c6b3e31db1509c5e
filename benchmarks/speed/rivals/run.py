"""What others take for the very pictures of `benchmarks.speed`, in an environment of their own.

    python -m venv .venv-rivals
    .venv-rivals/bin/pip install -r benchmarks/speed/rivals/requirements.lock
    .venv-rivals/bin/python -m benchmarks.speed.rivals.run --threads 2
    .venv-rivals/bin/python -m benchmarks.speed.rivals.run --rivals lraspp unet --weights folder-with-onnx-files

They look at every tile, at the canvas's own scale; the slow ones (PatchCore, EfficientAD) at a 1080p frame, the others
at 12 megapixels. Without `--weights` a rival has random ones: its speed is then measured and its answer means nothing,
so the row says `"weights": "random"` and has no precision or recall. Weights are ONNX files of the same shape,
NAME.onnx each: image float32 (1, 3, 512, 512) in 0..1 -> logits (1, classes, 512, 512).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.speed.measure import ROOT, SEED, child, line, origin
from benchmarks.speed.pictures import Picture, garment
from benchmarks.speed.subjects import against, keep_cores, timed
from model.grid import CELL_PX
from model.picture import read_picture

RESULT: Final = ROOT / "benchmarks" / "results" / "speed-rivals.json"
TILE_PX: Final = 512
PATCH_PX: Final = 256
BANK: Final = 22_000
"""PatchCore's memory: what it keeps of 1 % of MVTec AD's patches a category."""
_TRUE_PX: Final = 16  # one mm² of stain makes a stained cell

UNETS: Final = {"unet": "resnet18", "unet_lite0": "timm-tf_efficientnet_lite0"}
"""Encoders; `benchmarks.accuracy.as_onnx` writes trained weights of the second."""

Cells = list[list[int]]
Look = Callable[[NDArray[np.uint8]], Cells]


def cells_of(mask: NDArray[np.bool_]) -> Cells:
    """Stained pixels, bool (H, W) -> [row, col] of the cells with a mm² of them, or more."""
    rows, cols = (-(-side // CELL_PX) for side in mask.shape)
    whole = np.zeros((rows * CELL_PX, cols * CELL_PX), dtype=np.bool_)
    whole[: mask.shape[0], : mask.shape[1]] = mask
    stained = whole.reshape(rows, CELL_PX, cols, CELL_PX).sum(axis=(1, 3)) >= _TRUE_PX
    found: Cells = np.argwhere(stained).tolist()
    return found


def network(name: str) -> Any:
    """A rival's torch module with random weights: image (1, 3, H, W) -> logits (1, classes, H, W)."""
    torch = import_module("torch")
    torch.manual_seed(1)
    if name in UNETS:
        return import_module("segmentation_models_pytorch").Unet(UNETS[name], encoder_weights=None, classes=1).eval()
    made = import_module("torchvision.models.segmentation").lraspp_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=2
    )

    class Plain(torch.nn.Module):  # type: ignore[name-defined,misc]
        """torchvision's segmenters give a dictionary."""

        def __init__(self) -> None:
            super().__init__()
            self.made = made

        def forward(self, image: Any) -> Any:
            """The logits alone."""
            return self.made(image)["out"]

    return Plain().eval()


def exported(name: str, folder: Path) -> Path:
    """The rival as an ONNX file for one tile, made once."""
    path = folder / f"{name}.onnx"
    if path.is_file():
        return path
    torch = import_module("torch")
    with torch.no_grad():
        program = torch.onnx.export(
            network(name), (torch.zeros(1, 3, TILE_PX, TILE_PX),), dynamo=True, verbose=False, input_names=["image"]
        )
    program.save(str(path))
    return path


def onnx_session(path: Path, threads: int) -> Callable[[NDArray[np.uint8]], NDArray[np.bool_]]:
    """Stained pixels of one tile, uint8 (512, 512, 3) -> bool (512, 512)."""
    ort = import_module("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def look(tile: NDArray[np.uint8]) -> NDArray[np.bool_]:
        image = np.ascontiguousarray(tile.transpose(2, 0, 1)[None], dtype=np.float32) / np.float32(255)
        logits = session.run(None, {name: image})[0][0]
        return np.asarray(logits[0] > 0 if len(logits) == 1 else logits[1:].max(axis=0) > logits[0])

    return look


def all_tiles(path: Path, threads: int) -> Look:
    """Every tile once, edge to edge, those at the rim filled up by mirroring."""
    tile_of = onnx_session(path, threads)

    def look(image: NDArray[np.uint8]) -> Cells:
        height, width = image.shape[:2]
        padded = np.pad(image, ((0, -height % TILE_PX), (0, -width % TILE_PX), (0, 0)), mode="symmetric")
        mask = np.zeros(padded.shape[:2], dtype=np.bool_)
        for y in range(0, height, TILE_PX):
            for x in range(0, width, TILE_PX):
                mask[y : y + TILE_PX, x : x + TILE_PX] = tile_of(padded[y : y + TILE_PX, x : x + TILE_PX])
        return cells_of(mask[:height, :width])

    return look


def sahi_slices(path: Path, threads: int) -> Look:
    """sahi's slices (a fifth of overlap, its default) around the same network."""
    tile_of, slicing = onnx_session(path, threads), import_module("sahi.slicing")
    pillow = import_module("PIL.Image")

    def look(image: NDArray[np.uint8]) -> Cells:
        sliced = slicing.slice_image(
            pillow.fromarray(image), slice_height=TILE_PX, slice_width=TILE_PX,
            overlap_height_ratio=0.2, overlap_width_ratio=0.2,
        )  # fmt: skip
        mask = np.zeros(image.shape[:2], dtype=np.bool_)
        for part, (x, y) in zip(sliced.images, sliced.starting_pixels, strict=True):
            mask[y : y + TILE_PX, x : x + TILE_PX] |= tile_of(part)
        return cells_of(mask)

    return look


def by_patch(anomaly: Callable[[Any], Any]) -> Look:
    """Tiles of 256 px, one by one, through a torch model: image float32 (1, 3, 256, 256) -> anomaly map (256, 256)."""
    torch = import_module("torch")

    def look(image: NDArray[np.uint8]) -> Cells:
        height, width = (side // PATCH_PX * PATCH_PX for side in image.shape[:2])
        mask = np.zeros(image.shape[:2], dtype=np.bool_)
        for y in range(0, height, PATCH_PX):
            for x in range(0, width, PATCH_PX):
                tile = np.ascontiguousarray(image[y : y + PATCH_PX, x : x + PATCH_PX].transpose(2, 0, 1))
                with torch.inference_mode():
                    found = anomaly(torch.from_numpy(tile)[None].float() / 255).numpy()
                mask[y : y + PATCH_PX, x : x + PATCH_PX] = found > found.mean()
        return cells_of(mask)

    return look


def patchcore(threads: int) -> Look:
    """anomalib's PatchCore (ResNet18, random weights and memory) on tiles of 256 px."""
    torch = import_module("torch")
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    made = import_module("anomalib.models.image.patchcore.torch_model").PatchcoreModel(
        layers=["layer2", "layer3"], backbone="resnet18", pre_trained=False
    )
    made.eval()
    made.memory_bank = torch.randn(BANK, 384)
    return by_patch(lambda tile: made(tile).anomaly_map[0, 0])


def efficientad(threads: int) -> Look:
    """anomalib's EfficientAD (small, random weights) on tiles of 256 px."""
    torch = import_module("torch")
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    made = import_module("anomalib.models.image.efficient_ad.torch_model").EfficientAdModel(teacher_out_channels=384)
    made.eval()
    return by_patch(lambda tile: made(tile).anomaly_map[0, 0])


RIVALS: Final = {"lraspp": "12", "unet": "12", "unet_lite0": "12", "sahi": "12", "patchcore": "2", "efficientad": "2"}
"""Name -> the size that it is measured on, megapixels."""
_ANOMALY: Final = {"patchcore": patchcore, "efficientad": efficientad}


def looker(name: str, weights: Path | None, threads: int) -> Look:
    """A rival, ready."""
    if name in _ANOMALY:
        return _ANOMALY[name](threads)
    assert weights is not None  # `row` exports them in another process, so that torch is not in this one's memory
    return (sahi_slices if name == "sahi" else all_tiles)(weights, threads)


def one(args: argparse.Namespace) -> dict[str, Any]:
    """Measure one rival on one picture, in this process."""
    keep_cores(args.threads[0])
    data, look = args.picture.read_bytes(), looker(args.rivals[0], args.weights, args.threads[0])
    return timed(lambda: look(read_picture(data)), lambda: read_picture(data), args.repeat, args.seconds)


def file_of(name: str) -> str:
    """Whose weights a rival has: sahi slices around LR-ASPP."""
    return "lraspp" if name == "sahi" else name


def trained_weights(name: str, folder: Path | None) -> Path | None:
    """The rival's own file; None where there is none."""
    path = None if folder is None else folder / f"{file_of(name)}.onnx"
    return path if path is not None and path.is_file() else None


def row(name: str, picture: Picture, path: Path, threads: int, args: argparse.Namespace) -> dict[str, Any]:
    """`one` in a child process."""
    arguments = ["--picture", str(path), "--rivals", name, "--threads", str(threads)]
    arguments += ["--repeat", str(args.repeat), "--seconds", str(args.seconds)]
    own = trained_weights(name, args.weights)
    if name not in _ANOMALY:
        arguments += ["--weights", str(own or exported(file_of(name), path.parent))]
    found = json.loads(child(["-m", "benchmarks.speed.rivals.run", *arguments]).splitlines()[-1])
    cells = found.pop("cells")
    return {
        "subject": name,
        "image_px": list(picture.size),
        "threads": threads,
        "weights": "random" if own is None else own.name,
        **found,
        "mp_per_s": round(picture.size[0] * picture.size[1] / 1e3 / found["wall_ms"]["p50"], 2),
        **({} if own is None else against(cells, picture.truth, picture.rim)),
    }


def main(argv: list[str] | None = None) -> None:
    """Measure, print each row when it is done, and keep them all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", nargs="+", type=int, default=[2])
    parser.add_argument("--rivals", nargs="+", choices=RIVALS, default=list(RIVALS))
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=15, help="after which no further repetition is begun")
    parser.add_argument("--weights", type=Path, help="folder of NAME.onnx files, instead of random weights")
    parser.add_argument("--picture", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULT, help="the JSON to write")
    args = parser.parse_args(argv)
    if args.picture is not None:
        print(json.dumps(one(args)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        pictures = {size: garment(size, 0.01, SEED) for size in {RIVALS[name] for name in args.rivals}}
        for name in args.rivals:
            picture, path = pictures[RIVALS[name]], Path(folder) / f"{RIVALS[name]}.jpg"
            path.write_bytes(picture.jpeg)
            for threads in args.threads:
                rows.append(row(name, picture, path, threads, args) | {"stained_percent": 1.0})
                print(line(rows[-1]), file=sys.stderr, flush=True)
    document = {"schema": "spotgrid.benchmark/v1", "name": "speed-rivals", "rows": rows, "origin": origin()}
    args.out.write_text(json.dumps(document, indent=1) + "\n")
    print(args.out)


if __name__ == "__main__":
    main()
