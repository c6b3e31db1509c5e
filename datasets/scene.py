"""A rendered picture with its exact truth, and how a set of them lies on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Stain:
    """One stain of a scene: what was spilled, how much cloth it covers, and how well it can be seen."""

    id: int  # 1.., the value in `Scene.stain_id`
    source: str  # a name of model.taxonomy.SOURCES
    chemistry: str
    shape: str
    area_mm2: float  # sum of its coverage
    delta_e: float  # CIEDE2000, mean over the stain against the same cloth unstained, after light and before noise
    visible_delta_e: float  # the same, after what the camera's resolution leaves of it


@dataclass(frozen=True)
class Scene:
    """A canvas with truth per square millimetre.

    Attributes:
        image: (H, W, 3) uint8 RGB on the canvas (4 px/mm), H and W multiples of 40.
        coverage: (H/4, W/4) float32, share of each mm² that is stained, 0..1.
        stain_id: (H/4, W/4) int16, the stain that covers most of this mm², 0 = none.
        source: (H/4, W/4) uint8, 0 = none, else 1 + the position in `model.taxonomy.SOURCES`.
        ignore: (H/4, W/4) bool, faint rims and stains nobody could see: neither stain nor clean cloth for a loss.
        stains: one entry a stain, by rising id.
        meta: what was drawn (cloth, print, camera, split, seed): JSON types only.
    """

    image: NDArray[np.uint8]
    coverage: NDArray[np.float32]
    stain_id: NDArray[np.int16]
    source: NDArray[np.uint8]
    ignore: NDArray[np.bool_]
    stains: tuple[Stain, ...]
    meta: dict[str, Any] = field(default_factory=dict)


def encoded(scene: Scene, *, lossless: bool = True) -> dict[str, bytes]:
    """A scene as files by their endings: `png` or `jpg`, `truth.png` (16 bit: id; coverage; source, ignore), `json`."""
    truth = np.stack(
        [
            scene.stain_id.astype(np.uint16),
            np.rint(scene.coverage * 65535.0).astype(np.uint16),
            scene.source.astype(np.uint16) | (scene.ignore.astype(np.uint16) << 8),
        ],
        axis=-1,
    )
    jpeg = [cv2.IMWRITE_JPEG_QUALITY, 97, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    ending, options = ("png", []) if lossless else ("jpg", jpeg)
    record = {"schema": "spotgrid.scene/v1", "stains": [asdict(s) for s in scene.stains], "meta": scene.meta}
    return {
        ending: cv2.imencode(f".{ending}", scene.image[:, :, ::-1], options)[1].tobytes(),
        "truth.png": cv2.imencode(".png", truth)[1].tobytes(),
        "json": (json.dumps(record, indent=1) + "\n").encode(),
    }


def decoded(files: Mapping[str, bytes], name: str) -> Scene:
    """What `encoded` gave, by endings; `name` is for messages.

    Raises:
        ValueError: a file of the scene is missing or not readable; the message names it.
    """
    picture, layers = (_picture(files.get(e), f) for e, f in ((_ending(files), 1), ("truth.png", -1)))
    if picture is None or layers is None or "json" not in files:
        raise ValueError(f"{name}: picture, .truth.png or .json missing or damaged; render the set again")
    truth = np.asarray(layers, np.uint16)
    record = json.loads(files["json"])
    return Scene(
        image=np.ascontiguousarray(picture[:, :, ::-1], np.uint8),
        coverage=truth[:, :, 1].astype(np.float32) / 65535.0,
        stain_id=truth[:, :, 0].astype(np.int16),
        source=(truth[:, :, 2] & 0xFF).astype(np.uint8),
        ignore=(truth[:, :, 2] >> 8) > 0,
        stains=tuple(Stain(**s) for s in record["stains"]),
        meta=record["meta"],
    )


def _ending(files: Mapping[str, bytes]) -> str:
    return "png" if "png" in files else "jpg"


def _picture(data: bytes | None, flag: int) -> NDArray[Any] | None:
    """Decoded, or None where there is nothing to decode; `flag`: 1 = 8-bit BGR, -1 = as it is."""
    return cv2.imdecode(np.frombuffer(data, np.uint8), flag) if data else None


def save(scene: Scene, folder: Path, name: str, *, lossless: bool = True) -> None:
    """Write the files of `encoded` into `folder` as `NAME.ENDING`."""
    folder.mkdir(parents=True, exist_ok=True)
    for ending, data in encoded(scene, lossless=lossless).items():  # the description last: it says that all is there
        (folder / f"{name}.{ending}").write_bytes(data)


def load(folder: Path, name: str) -> Scene:
    """Read what `save` wrote.

    Raises:
        ValueError: a file of the scene is missing or not readable; the message names it.
    """
    paths = {ending: folder / f"{name}.{ending}" for ending in ("png", "jpg", "truth.png", "json")}
    return decoded({e: path.read_bytes() for e, path in paths.items() if path.is_file()}, str(folder / name))


def names(folder: Path) -> Iterator[str]:
    """Names of the scenes in `folder`, sorted."""
    yield from sorted(p.name.removesuffix(".truth.png") for p in folder.glob("*.truth.png"))
