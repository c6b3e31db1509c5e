"""How fast scenes are rendered, and whether the training loop has to wait for them once they lie on disk.

    python -m benchmarks.render.measure                             # writes the result: minutes
    python -m benchmarks.render.measure --scenes 4 --steps 2 --network unet --encoder timm:test_resnet --out -

Rendering: scenes of the usual recipe on procedural cloth, one process, by processor time, which neighbours on a busy
machine change little; then all cores at once by the clock. A crop is 224 x 224 px of the canvas, the unit in which
renderers are compared. Training: `training.train` with one process that computes and one that loads, on the scenes just
rendered; `waited_share` is its own figure for the share of its time spent waiting. On a busy machine it says more of
the neighbours than of us, so what a step costs in processor time, and what of it is loading, stands beside it: while
loading is the smaller part, one process that loads keeps ahead.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.origin import ROOT, origin
from datasets.compose import Recipe, render_scene
from datasets.pictures import Pool
from datasets.render import crops_of, usable_cores
from datasets.scene import names, save

RESULT: Final = ROOT / "benchmarks" / "results" / "render.json"
SCENES: Final = 40
STEPS: Final = 30
BATCH: Final = 3

_LOADING: Final = """
import sys, time
from pathlib import Path
from datasets.scene import names
from datasets.torch_data import SceneViews
folder = Path(sys.argv[1])
views, every = SceneViews(folder), list(names(folder))
views[every[0], 0]
began = time.process_time()
for number, name in enumerate(every):
    views[name, number]
print((time.process_time() - began) / len(every))
"""


def one_core(scenes: int, folder: Path) -> dict[str, Any]:
    """Render `scenes` into `folder` in this process."""
    recipe, pool = Recipe(), Pool(None, "train")
    render_scene(recipe, pool, 0)
    spent = clock = 0.0
    for seed in range(scenes):
        began, clock_began = time.process_time(), time.perf_counter()
        scene = render_scene(recipe, pool, seed)
        spent, clock = spent + time.process_time() - began, clock + time.perf_counter() - clock_began
        save(scene, folder, f"s{seed:04d}", lossless=False)
    crops = scenes * crops_of(recipe)
    return {
        "scenes": scenes,
        "scene_mm": recipe.size_mm,
        "crops": round(crops),
        "processor_s_per_scene": round(spent / scenes, 3),
        "crops_per_s_core": round(crops / spent, 1),
        "crops_per_s_core_by_clock": round(crops / clock, 1),
    }


def python(words: list[str]) -> str:
    """What a fresh interpreter prints; its messages go where ours do."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *words], cwd=ROOT, env=env, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def all_cores(scenes: int, folder: Path) -> dict[str, Any]:
    """The command itself, on every core that this process may use, start of the processes and writing included."""
    began = time.perf_counter()
    python(["-m", "datasets.render", "--out", str(folder), "--count", str(scenes), "--seed", "1", "--jpeg"])
    clock = time.perf_counter() - began
    crops = scenes * crops_of(Recipe())
    return {"cores": usable_cores(), "clock_s": round(clock, 1), "crops_per_s": round(crops / clock, 1)}


def trained(name: str, steps: int, args: argparse.Namespace, folder: Path) -> tuple[float, dict[str, Any]]:
    """Train a few steps; the processor seconds of all its processes, and what its run.json says."""
    values = {
        "name": name, "runs": folder / "runs", "scenes": folder / "scenes", "val_scenes": folder / "scenes",
        "network": args.network, "encoder": args.encoder, "steps": steps, "batch": BATCH, "workers": 1, "threads": 1,
        "val_every": 10**6, "val_limit": 1, "device": "cpu", "warmup": 1,
    }  # fmt: skip
    before = os.times()
    python(["-m", "training.train", *(f"{key}={value}" for key, value in values.items())])
    after = os.times()
    session = json.loads((folder / "runs" / name / "run.json").read_text(encoding="utf-8"))["sessions"][-1]
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return spent, session


def waiting(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """How long the loop waits for the scenes in `folder`; start and validation are taken out by a run of one step."""
    start, _ = trained("start", 1, args, folder)
    spent, session = trained("waits", 1 + args.steps, args, folder)
    loading = BATCH * float(python(["-c", _LOADING, str(folder / "scenes")]))
    return {
        "network": f"{args.network}, {args.encoder}",
        "batch": BATCH,
        "steps": args.steps,
        "processes": "one computes on one thread, one loads",
        "s_per_step": round(session["s_per_step"], 2),
        "waited_share": round(session["waited_share"], 3),
        "processor_s_per_step": round((spent - start) / args.steps, 3),
        "of_that_loading_s": round(loading, 3),
    }


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--scenes", type=int, default=SCENES, help=f"to render (default {SCENES})")
    made.add_argument("--steps", type=int, default=STEPS, help=f"to train (default {STEPS})")
    made.add_argument("--network", default="spotnet", help="as training.train takes it (default spotnet)")
    made.add_argument("--encoder", default="tf_efficientnet_lite0", help="as training.train takes it")
    made.add_argument("--out", default=str(RESULT), help="result's file; - = print only")
    return made


def main() -> None:
    """Measure, print, and keep the result."""
    args = parser().parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scenes = Path(folder) / "scenes"
        found: dict[str, Any] = {"one_core": one_core(args.scenes, scenes)}
        assert len(list(names(scenes))) == args.scenes
        found["all_cores"] = all_cores(args.scenes, Path(folder) / "more")
        found["training"] = waiting(args, Path(folder))
    text = json.dumps({"schema": "spotgrid.benchmark/v1", "name": "render", **found, "origin": origin()}, indent=1)
    print(text)
    if args.out != "-":
        Path(args.out).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
