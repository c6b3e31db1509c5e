"""Write an exported network in fp16 or int8, and tell what it costs and gains.

    python -m training.quantise mine.onnx --to int8 --scenes scenes/val --out mine-int8.onnx --report mine-int8.md
    python -m training.quantise mine.onnx --to fp16 --scenes scenes/val --out mine-fp16.onnx

int8 is QDQ: weights per channel, activations by the ranges seen on the first half of the scenes. Weights have 7 bits
unless --bits 8 is given: half the rounding, and right only on processors that multiply and add bytes in 32 bits (VNNI,
ARM); others overflow in 16, and the file is refused there. The last convolutions before each output stay in fp32, and
so do the first on the picture and on its logarithms: a faint stain is a small difference there. Thresholds are set
after quantising, on the other half: each preset's is where the cells listed differ least from fp32's.
Nothing is written when more cells differ than --least allows. Against truth, and for the final word, measure both files
with `training.evaluate` and hold them against each other with `training.compare`.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16

from datasets.scene import load, names
from model.detector import Detector
from model.onnx_file import CONTEXT_STRIDE, GLANCE_KEY, METADATA_KEY, TILE_STEP, ModelFileError, OnnxFile
from training.export import ExportError, with_metadata, without_chemistry
from training.provenance import commit, machine
from training.tables import markdown

PRECISIONS: Final = ("fp16", "int8")
LEAST: Final = {"fp16": 0.99, "int8": 0.95}
"""F1 of the cells listed, fp32's taken for the truth, below which nothing is written."""
_CANDIDATES: Final = np.linspace(0.002, 0.998, 499)
_ROUNDS: Final = 8
Image = NDArray[np.uint8]
Cells = NDArray[np.float32]


class Feeds(CalibrationDataReader):  # type: ignore[misc]
    """What a graph is fed while pictures are looked at whole, coarse to fine, by the fp32 file.

    Args:
        file: the fp32 model.
        pictures: canvases, uint8 (H, W, 3); sides are cut to what all levels can take.
        finest: what the finest level is fed, else what the others are.
    """

    def __init__(self, file: OnnxFile, pictures: Sequence[Image], finest: bool) -> None:
        here = slice(-1, None) if finest else slice(0, -1)
        self._feeds = (feed for picture in pictures for feed in list(feeds_of(file, picture))[here])

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """The next feed, or None after the last."""
        return next(self._feeds, None)


def feeds_of(file: OnnxFile, picture: Image) -> Iterator[dict[str, NDArray[Any]]]:
    """Image and context of each level of one picture."""
    coarsest = file.info.levels[0]
    step = TILE_STEP * coarsest
    h, w = (max(side // step, 1) * step for side in picture.shape[:2])
    missing = max(0, h - picture.shape[0]), max(0, w - picture.shape[1])
    picture = np.pad(picture[:h, :w], ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")
    shape = 1, file.info.channels, h // coarsest // CONTEXT_STRIDE, w // coarsest // CONTEXT_STRIDE
    context = np.zeros(shape, np.float32)
    for level in file.info.levels:
        small = cv2.resize(picture, (w // level, h // level), interpolation=cv2.INTER_AREA)[None]
        yield {"image": np.asarray(small, np.uint8), "context": context}
        (context,) = file.run(("features",), np.asarray(small, np.uint8), context)


def kept_in_fp32(graph: onnx.GraphProto) -> list[str]:
    """Names of the convolutions that int8 would hurt: the last before each output, the first on the picture and on
    logarithms. On three channels int8 is no faster, and what is rounded there all others are told."""
    maker = {name: node for node in graph.node for name in node.output}
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    last = _convs([out.name for out in graph.output], lambda name: [maker[name]] if name in maker else [], back=True)
    logs = [name for node in graph.node if node.op_type == "Log" for name in node.output]
    first = _convs(["image", *logs], lambda name: users.get(name, []), back=False)
    return sorted(last | first)


def _convs(start: list[str], nodes_at: Any, *, back: bool) -> set[str]:
    """Names of the first convolutions met from tensors on, backwards or forwards."""
    found, seen, ahead = set[str](), set[str](), list(start)
    while ahead:
        name = ahead.pop()
        if name in seen:
            continue
        seen.add(name)
        for node in nodes_at(name):
            if node.op_type == "Conv":
                found.add(node.name)
            else:
                ahead += node.input if back else node.output
    return found


def graphs_of(path: Path) -> list[onnx.ModelProto]:
    """The two graphs of a model file, the one that the finest level is run by first, without metadata."""
    model = onnx.load(path)
    glance = {prop.key: prop.value for prop in model.metadata_props}.get(GLANCE_KEY)
    del model.metadata_props[:]
    return [model, onnx.load_from_string(without_chemistry(model) if glance is None else base64.b64decode(glance))]


def to_int8(model: onnx.ModelProto, feeds: Feeds, folder: Path, bits: int = 7) -> onnx.ModelProto:
    """A graph in int8 QDQ, ranges taken from what it is fed; `folder` is for files on the way, `bits` of weights."""
    path, prepared, out = (folder / name for name in ("fp32.onnx", "prepared.onnx", "int8.onnx"))
    onnx.save(model, path)
    quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
    onnx.save(_named(onnx.load(prepared)), prepared)
    quantize_static(
        str(prepared),
        str(out),
        feeds,
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv", "Clip"],
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        reduce_range=bits == 7,  # processors without VNNI add two products of 8 bits in 16 and overflow
        nodes_to_exclude=kept_in_fp32(onnx.load(prepared).graph),
    )
    return onnx.load(out)


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """A graph in fp16; inputs, outputs and logarithms stay as they are."""
    model = _named(model)
    kept = [node.name for node in model.graph.node if node.op_type in ("Log", "Cast")]
    model = convert_float_to_float16(model, keep_io_types=True, node_block_list=kept)
    _sort(model.graph)
    del model.graph.value_info[:]  # it tells the old types
    return model


def _named(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model, each node with a name: nodes are left out by theirs."""
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    return model


def _sort(graph: onnx.GraphProto) -> None:
    """Bring nodes into an order in which each comes after what it needs: the converter appends its casts anywhere."""
    known = {name for given in (graph.input, graph.initializer) for name in (item.name for item in given)} | {""}
    waiting, ordered = list(graph.node), list[onnx.NodeProto]()
    while waiting:
        ready = [node for node in waiting if known.issuperset(node.input)]
        if not ready:
            raise ExportError(
                "the converted graph has a loop; keep the fp32 file and report the version of onnxruntime"
            )
        ordered += ready
        known |= {name for node in ready for name in node.output}
        waiting = [node for node in waiting if not known.issuperset(node.output)]
    del graph.node[:]
    graph.node.extend(ordered)


def finish(graphs: Sequence[onnx.ModelProto], document: dict[str, Any], path: Path) -> None:
    """Write a model file of its two graphs and its metadata."""
    model, glance = graphs
    with_metadata(model, document, glance.SerializeToString())
    onnx.checker.check_model(model)
    onnx.save(model, path)


def document_of(path: Path) -> dict[str, Any]:
    """The metadata of a model file."""
    document: dict[str, Any] = json.loads({p.key: p.value for p in onnx.load(path).metadata_props}[METADATA_KEY])
    return document


def confidences(path: Path, pictures: Sequence[Image]) -> tuple[Cells, Cells]:
    """Every cell's confidence (n,), and every mm²'s probability of stain (m,), as the product sees them."""
    detector = Detector(path, threads=1)
    judged = [detector.judged(picture) for picture in pictures]
    cells, logits = (np.concatenate([part.ravel() for part in parts]) for parts in zip(*judged, strict=True))
    return cells, 1 / (1 + np.exp(-logits))


def matched(wanted: NDArray[np.bool_], cells: Cells, near: float) -> float:
    """The threshold at which the cells listed differ least from those wanted; of several, the nearest to `near`.

    Where as many are listed as before would be a lower one, since rounding moves clean cells over the threshold, too:
    spotgrid-s 0.9.1 lost twice as much by it (training/RUNS.md).
    """
    candidates = np.append(_CANDIDATES, near)
    differ = np.array([int(((cells >= threshold) != wanted).sum()) for threshold in candidates])
    best = candidates[differ == differ.min()]
    return round(float(best[np.abs(best - near).argmin()]), 4)


def agreement(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> float:
    """F1 of the cells listed, `theirs` taken for the truth; 1 where neither lists any."""
    both, all_ = int((ours & theirs).sum()), int(ours.sum() + theirs.sum())
    return 2 * both / all_ if all_ else 1.0


def speed(paths: Sequence[Path], side: int = 256) -> list[float]:
    """Milliseconds of one run of each file at (1, side, side), one thread, in turns: the least of each."""
    files = [OnnxFile(path, threads=1) for path in paths]
    feed = next(feeds_of(files[0], np.full((side * files[0].info.levels[0],) * 2 + (3,), 150, np.uint8)))
    best = [float("inf")] * len(files)
    for _ in range(_ROUNDS):
        for number, file in enumerate(files):
            started = time.perf_counter()
            file.run(("stain", "chemistry", "features"), feed["image"], feed["context"])
            best[number] = min(best[number], 1000 * (time.perf_counter() - started))
    return [round(ms, 2) for ms in best]


def quantise(
    path: Path, out: Path, precision: str, pictures: Sequence[Image], least: float, bits: int = 7
) -> dict[str, Any]:
    """Write `path` anew in another precision; see the module's text.

    Args:
        path: an exported fp32 model.
        out: the file to write.
        precision: one of `PRECISIONS`.
        pictures: canvases, uint8 (H, W, 3), two or more: the first half for ranges, the others for thresholds.
        least: see `LEAST`.
        bits: of int8's weights, 7 or 8.

    Returns:
        parity and speed: what the metadata and the report hold, with the file's sha256.

    Raises:
        ExportError: the cells differ too much; `out` is left as it was.
        ModelFileError: `path` is not a model of ours, or of another schema.
        ValueError: too few pictures, or the file is quantised already.
    """
    file, document = OnnxFile(path, threads=1), document_of(path)
    if len(pictures) < 2:
        raise ValueError(f"{len(pictures)} pictures; two or more are needed: half for ranges, half for thresholds")
    if "quantised" in document["trained"]:
        raise ValueError(f"{path} is {document['trained']['quantised']['precision']} already; start from the fp32 file")
    half = len(pictures) // 2
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / "trial.onnx"
        graphs = [
            to_fp16(graph)
            if precision == "fp16"
            else to_int8(graph, Feeds(file, pictures[:half], first), Path(folder), bits)
            for graph, first in zip(graphs_of(path), (True, False), strict=True)
        ]
        finish(graphs, document, trial)
        told = _set_thresholds(path, trial, document, pictures[half:])
        if precision == "int8":
            document["weight_bits"] = bits
        told |= {"precision": precision, "from_sha256": file.info.sha256, "pictures": len(pictures), "commit": commit()}
        if told["agreement"] < least:
            raise ExportError(
                f"{precision} lists other cells than fp32: agreement {told['agreement']:.3f}, at least {least:g}; "
                f"give more --scenes, or keep the fp32 file"
            )
        document["version"] += f"-{precision}"
        document["trained"] |= {"quantised": told}
        finish(graphs, document, trial)
        times = speed([path, trial])
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(trial.read_bytes())
    written = {"sha256": OnnxFile(out, threads=1).info.sha256, "bytes": [path.stat().st_size, out.stat().st_size]}
    return told | written | {"ms": times, "machine": machine()}


def _set_thresholds(path: Path, trial: Path, document: dict[str, Any], pictures: Sequence[Image]) -> dict[str, Any]:
    """Set each preset's threshold in `document`; how alike the two files are there."""
    (theirs, p_theirs), (ours, p_ours) = confidences(path, pictures), confidences(trial, pictures)
    before = document["threshold"]
    for preset in document["presets"].values():
        preset["threshold"] = matched(theirs >= preset["threshold"], ours, preset["threshold"])
    document["threshold"] = matched(theirs >= before, ours, before)
    apart = np.abs(p_ours - p_theirs)
    return {
        "agreement": round(agreement(ours >= document["threshold"], theirs >= before), 4),
        "agreement_at_the_old_threshold": round(agreement(ours >= before, theirs >= before), 4),
        "cells": len(theirs),
        "cells_listed": int((theirs >= before).sum()),
        "mm2_probability_mean": round(float(apart.mean()), 6),
        "mm2_probability_max": round(float(apart.max()), 4),
        "confidence_max": round(float(np.abs(ours - theirs).max()), 4),
        "threshold": [before, document["threshold"]],
    }


def report(told: dict[str, Any], name: str) -> str:
    """Parity and speed as Markdown."""
    rows = [
        ["MB", *(f"{size / 1e6:.2f}" for size in told["bytes"])],
        ["ms of one run, 256 x 256 px, one thread", *(f"{ms:.1f}" for ms in told["ms"])],
        ["default threshold", *(f"{threshold:.3f}" for threshold in told["threshold"])],
        ["cells listed alike (F1)", "1", f"{told['agreement']:.3f}"],
        ["the same at fp32's threshold", "1", f"{told['agreement_at_the_old_threshold']:.3f}"],
        ["a mm²'s probability, mean difference", "0", f"{told['mm2_probability_mean']:.2g}"],
        ["a mm²'s probability, largest difference", "0", f"{told['mm2_probability_max']:.2g}"],
    ]
    return (
        f"# {name}\n\n{markdown(['', 'fp32', told['precision']], rows)}\n\n"
        f"{told['cells']} cells, {told['cells_listed']} of them listed by fp32, of {told['pictures']} pictures "
        f"of which half set the ranges and the others were compared. sha256 `{told['sha256']}`, "
        f"from `{told['from_sha256']}`, commit `{told['commit']}`; {told['machine']}.\n"
    )


def main(argv: list[str] | None = None) -> int:
    """Entry point of `python -m training.quantise`."""
    parser = argparse.ArgumentParser(
        prog="python -m training.quantise", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="an fp32 model file of training.export")
    parser.add_argument("--to", choices=PRECISIONS, required=True, help="the precision")
    parser.add_argument(
        "--scenes", type=Path, required=True, metavar="DIR", help="scenes of datasets.render to look at"
    )
    parser.add_argument("--limit", type=int, default=40, metavar="N", help="at most so many of them (default 40)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the ONNX file to write")
    parser.add_argument("--bits", type=int, choices=(7, 8), default=7, help="of int8's weights (default 7); see above")
    parser.add_argument(
        "--least", type=float, metavar="F1", help="agreement below which nothing is written (0.99, 0.95)"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="write parity and speed as Markdown there")
    args = parser.parse_args(argv)
    try:
        pictures = [load(args.scenes, name).image for name in islice(names(args.scenes), args.limit)]
        least = LEAST[args.to] if args.least is None else args.least
        told = quantise(args.model, args.out, args.to, pictures, least, args.bits)
    except (ExportError, ModelFileError, ValueError, OSError) as error:
        print(f"training.quantise: {error}", file=sys.stderr)
        return 1
    if args.report:
        args.report.write_text(report(told, args.out.name), encoding="utf-8")
    print(json.dumps(told, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
