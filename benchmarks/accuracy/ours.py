"""Train ours to a rival's budget: SpotNet from the same ImageNet encoder, on the same scenes, from nothing else.

    python -m benchmarks.accuracy.ours --steps 900 --scenes scenes/train --val scenes/val --out runs/spotnet-hours
    python -m training.calibrate --run runs/spotnet-hours --data ../shared/data --cache scenes/calibrate
    python -m training.export runs/spotnet-hours --out runs/spotnet-hours/spotnet.onnx --name spotnet

In the project's own environment. A step shows each scene once coarsely, once nearer and three times closely, and all
five are counted as crops; the cosine ends with the steps. Processor time is this process's, which loads the scenes
itself. The recipe is the released network's (training/RUNS.md), `RECIPE`; other values are given as key=value. Writes
took.json beside the checkpoints.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.accuracy.rivals import TOOK
from training.config import Config, configure
from training.train import run

RECIPE: Final = (
    "batch=6 close=3 crop=224 precision=bf16 lr=2e-3 encoder_lr=4e-4 warmup=60 ema=0.997 mined_share=0.2 hardest=0.15 "
    "chemistry=0.5 clip=5 norm_until=0.7 workers=0 threads=1 val_limit=1 val_every=1000000"
)


def crops_a_step(config: Config) -> int:
    """Of all three levels."""
    return config.batch * (2 + config.close)


def train(args: argparse.Namespace) -> dict[str, Any]:
    """Train, and tell what it took: crops, steps, hours of processor and of clock.

    Raises:
        ValueError: the folder holds a run: how long a cut one took is not known.
    """
    if (args.out / "last.pt").is_file():
        raise ValueError(f"{args.out} holds a run already; give another --out")
    places = (f"name={args.out.name}", f"runs={args.out.parent}", f"scenes={args.scenes}", f"val_scenes={args.val}")
    config = configure([*RECIPE.split(), *places, f"steps={args.steps}", *args.values])
    began = time.process_time(), time.monotonic()
    run(config, args.out)
    spent = (time.process_time() - began[0]) / 3600, (time.monotonic() - began[1]) / 3600
    crops = args.steps * crops_a_step(config)
    took = {"crops": crops, "steps": args.steps, "processor_h": spent[0], "wall_h": spent[1]}
    (args.out / TOOK).write_text(json.dumps(took) + "\n", encoding="utf-8")
    return took


def main(argv: list[str] | None = None) -> int:
    """Entry point of `python -m benchmarks.accuracy.ours`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, required=True, help="the budget, in steps of 30 crops")
    parser.add_argument("--scenes", type=Path, required=True, help="rendered training scenes")
    parser.add_argument("--val", type=Path, required=True, help="rendered validation scenes; one is looked at")
    parser.add_argument("--out", type=Path, required=True, help="the run's folder")
    parser.add_argument("values", nargs="*", metavar="KEY=VALUE", help="of training.config, instead of the recipe's")
    args = parser.parse_args(argv)
    try:
        took = train(args)
    except (OSError, ValueError) as error:
        print(f"benchmarks.accuracy.ours: {error}", file=sys.stderr)
        return 1
    print(took)
    return 0


if __name__ == "__main__":
    sys.exit(main())
