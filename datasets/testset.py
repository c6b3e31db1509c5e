"""The frozen test set: its specification, its scenes, and the lock that shows nobody moved the posts.

python -m datasets.testset --data ../shared/data                # render all of it and compare with the lock
python -m datasets.testset --data ../shared/data --write-lock   # after raising `version` in testset.toml

The same bytes come again on the same processor only: OpenCV's IPP, for one, takes another code path on another one, so
that a px in a thousand differs by a few grey levels. Each scene is therefore compared by its mean colour and stained
area; the lock's hashes, made on a processor without AVX-512, tell whether the set is the same to the byte.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.compose import Recipe, render_scene, render_with_clean_takes
from datasets.pictures import KINDS, Pool
from datasets.scene import Scene, load, save

SPEC = Path(__file__).with_name("testset.toml")
LOCK = Path(__file__).with_name("testset.lock.json")
COLOUR_LEVELS, AREA_SHARE = 0.1, 0.005  # how far a scene may be from its lock: of 255, and of its stained mm²
_SEED = 1 << 41  # the test split's own random numbers, see datasets.render


@dataclass(frozen=True)
class Part:
    """A share of the test set that is drawn by one recipe."""

    name: str
    scenes: int
    recipe: Recipe


@dataclass(frozen=True)
class TestsetSpec:
    """What testset.toml says."""

    __test__ = False  # pytest: this is no test class
    version: int
    seed: int
    parts: tuple[Part, ...]
    sha256: str  # of the file's bytes


def load_spec(path: Path = SPEC) -> TestsetSpec:
    """Read a specification.

    Raises:
        ValueError: a missing or unknown key; the message names it.
    """
    raw = path.read_bytes()
    values = tomllib.loads(raw.decode())
    try:
        parts = tuple(Part(p["name"], int(p["scenes"]), Recipe.from_dict(p["recipe"])) for p in values["part"])
        return TestsetSpec(int(values["version"]), int(values["seed"]), parts, hashlib.sha256(raw).hexdigest())
    except KeyError as error:
        raise ValueError(f"{path}: key {error} missing; see datasets/testset.toml for the form") from None


def iter_scenes(
    spec: TestsetSpec, data_root: Path | None, *, share: float = 1.0, cache: Path | None = None
) -> Iterator[Scene]:
    """All scenes in order; `meta["part"]` names the part, `meta["index"]` the scene in it.

    Args:
        spec: from `load_spec`.
        data_root: folder of real pictures. Parts that need them are refused without it.
        share: 0 < share <= 1, the first scenes of each part only (a quick look, not a score).
        cache: folder to keep rendered scenes in; they are read from there the next time.

    Raises:
        ValueError: a part needs pictures that are not there.
    """
    pool = Pool(data_root, "test")
    for part, index, seed in _places(spec, pool, share):
        scene = _scene(spec, part, seed, index, pool, cache)
        yield replace(scene, meta=scene.meta | {"part": part.name, "index": index})


def iter_with_clean_takes(
    spec: TestsetSpec, data_root: Path | None, takes: int, *, share: float = 1.0
) -> Iterator[tuple[Scene, tuple[NDArray[np.uint8], ...]]]:
    """`iter_scenes`, and with each scene `takes` pictures of its garment before it was stained.

    Arguments and errors as there; see `datasets.compose.render_with_clean_takes`.
    """
    pool = Pool(data_root, "test")
    for part, index, seed in _places(spec, pool, share):
        scene, clean = render_with_clean_takes(part.recipe, pool, seed, takes)
        yield replace(scene, meta=scene.meta | {"part": part.name, "index": index}), clean


def _places(spec: TestsetSpec, pool: Pool, share: float) -> Iterator[tuple[Part, int, int]]:
    """Each scene's part, its number there, and its seed."""
    for number, part in enumerate(spec.parts):
        wanted = [k for k, v in part.recipe.pictures.items() if v > 0]
        if missing := [k for k in wanted if k not in pool.kinds()]:
            raise ValueError(
                f"test set part {part.name!r} needs pictures of kind {', '.join(missing)} (known: {', '.join(KINDS)}); "
                "give the data folder, see docs/data.md"
            )
        for index in range(max(1, round(part.scenes * share))):
            yield part, index, _SEED + (spec.seed << 24) + (number << 16) + index


def _scene(spec: TestsetSpec, part: Part, seed: int, index: int, pool: Pool, cache: Path | None) -> Scene:
    if cache is None:
        return render_scene(part.recipe, pool, seed)
    folder, name = cache / f"v{spec.version}-{spec.sha256[:12]}", f"{part.name}-{index:04d}"
    if not (folder / f"{name}.json").is_file():
        save(render_scene(part.recipe, pool, seed), folder, name)
    return load(folder, name)


def digest(scenes: Iterator[Scene]) -> dict[str, Any]:
    """By part: counts, a sha256 over all pixels and truth, and each scene's mean red, green, blue and stained mm²."""
    parts: dict[str, dict[str, Any]] = {}
    for scene in scenes:
        entry = parts.setdefault(
            scene.meta["part"], {"scenes": 0, "stains": 0, "area_m2": 0.0, "hash": hashlib.sha256(), "prints": []}
        )
        entry["scenes"] += 1
        entry["stains"] += len(scene.stains)
        entry["area_m2"] += scene.coverage.size / 1e6
        entry["hash"].update(scene.image.tobytes())
        entry["hash"].update(scene.stain_id.tobytes())
        colour = scene.image.mean(axis=(0, 1)).round(2).tolist()
        entry["prints"].append([*colour, round(float(scene.coverage.sum()), 1)])
    return {
        name: {**entry, "area_m2": round(entry["area_m2"], 3), "hash": entry["hash"].hexdigest()}
        for name, entry in parts.items()
    }


def difference(found: dict[str, Any], locked: dict[str, Any]) -> str | None:
    """What two digests disagree on beyond rounding: a sentence, or None."""
    for key in ("version", "spec_sha256"):
        if found[key] != locked[key]:
            return f"{key} is {found[key]}, locked is {locked[key]}"
    if list(found["parts"]) != list(locked["parts"]):
        return f"parts are {', '.join(found['parts'])}, locked are {', '.join(locked['parts'])}"
    for name, part in found["parts"].items():
        want = locked["parts"][name]
        for key in ("scenes", "stains", "area_m2"):
            if part[key] != want[key]:
                return f"part {name} has {key} {part[key]}, locked are {want[key]}"
        for index, (ours, theirs) in enumerate(zip(part["prints"], want["prints"], strict=True)):
            colour = max(abs(a - b) for a, b in zip(ours[:3], theirs[:3], strict=True))
            area = abs(ours[3] - theirs[3])
            if colour > COLOUR_LEVELS or area > max(1.0, AREA_SHARE * theirs[3]):
                return f"scene {name}-{index:04d} has mean colour and stained mm² {ours}, locked are {theirs}"
    return None


def write_lock(found: dict[str, Any]) -> None:
    """Write the lock, one scene's numbers a line."""
    text = json.dumps(found, indent=1)
    LOCK.write_text(re.sub(r"\[\s+([^\[\]]+?)\s+\]", lambda m: "[" + " ".join(m[1].split()) + "]", text) + "\n")


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 the set is as locked, 1 it is not, 2 the call was wrong."""
    p = argparse.ArgumentParser(prog="python -m datasets.testset", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--data", type=Path, required=True, help="folder of real pictures (docs/data.md)")
    p.add_argument("--cache", type=Path, help="folder to keep the rendered scenes in")
    p.add_argument("--write-lock", action="store_true", help="write datasets/testset.lock.json instead of comparing")
    args = p.parse_args(argv)
    cv2.setNumThreads(1)
    try:
        spec = load_spec()
        found: dict[str, Any] = {
            "version": spec.version,
            "spec_sha256": spec.sha256,
            "parts": digest(iter_scenes(spec, args.data, cache=args.cache)),
        }
    except ValueError as error:
        print(f"datasets.testset: {error}", file=sys.stderr)
        return 2
    print(json.dumps(found, indent=1))
    if args.write_lock:
        write_lock(found)
        return 0
    locked = json.loads(LOCK.read_text())
    wrong = difference(found, locked)
    if wrong is not None:
        print(f"datasets.testset: {wrong}; raise `version` and write the lock anew", file=sys.stderr)
        return 1
    same = all(part["hash"] == locked["parts"][name]["hash"] for name, part in found["parts"].items())
    equal = "byte for byte" if same else "but for the rounding of another processor"
    print(f"datasets.testset: as locked, {equal}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
