"""Checkpoints: everything a run needs to go on, and the network alone for everybody else.

python -m training.checkpoint runs/mine/last.pt mine.pt    # the averaged weights alone, a quarter of the file
python -m training.checkpoint runs/mine/last.pt runs/mine-m/last.pt --views 4    # what looks at each place four times
python -m training.checkpoint runs/mine/last.pt runs/mine-m/last.pt --views 2 --beside runs/other/last.pt
python -m training.checkpoint runs/mine/last.pt mine.pt --mean-with runs/tuned/last.pt    # half way to what it became
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from datasets.prepared import why_not_shipped
from model.architectures import DEFAULT, build
from model.network import MIRRORS, Mirrored, Together

_KEPT: Final = ("schema", "step", "best", "ema", "mean_of", "beside", "beside_sha256")


@dataclass
class State:
    """What changes while a run runs.

    Attributes:
        network, ema, optimiser: what learns, its averaged weights, and AdamW's moments.
        step: how many are done. `best`: the best validation F1; `since_best`: validations since then.
        plan: which scenes come next, see training/plan.py; empty = a new plan.
        not_shipped: why a licence forbids shipping these weights; empty = nothing does.
    """

    network: nn.Module
    ema: dict[str, Tensor]
    optimiser: torch.optim.Optimizer
    step: int = 0
    best: float = -1.0
    since_best: int = 0
    plan: str = ""
    not_shipped: str = ""


def update_ema(ema: dict[str, Tensor], network: nn.Module, decay: float) -> None:
    """ema <- decay * ema + (1 - decay) * weights, in place; integer buffers are copied."""
    with torch.no_grad():
        for key, value in network.state_dict().items():
            if value.is_floating_point():
                ema[key].lerp_(value, 1.0 - decay)
            else:
                ema[key].copy_(value)


def save(state: State, config: dict[str, Any], path: Path) -> None:
    """Write a checkpoint; a cut in the middle leaves the old one whole."""
    partial = path.with_suffix(".partial")
    torch.save(
        {
            "schema": "spotgrid.checkpoint/v1",
            "config": config,
            "step": state.step,
            "best": state.best,
            "since_best": state.since_best,
            "plan": state.plan,
            "model": state.network.state_dict(),
            "ema": state.ema,
            "optimiser": state.optimiser.state_dict(),
            "not_shipped": state.not_shipped,
        },
        partial,
    )
    partial.replace(path)


def read(path: Path) -> dict[str, Any]:
    """The raw checkpoint.

    Raises:
        ValueError: no such file, or not a Spotgrid checkpoint.
    """
    if not path.is_file():
        raise ValueError(f"checkpoint {path} not found; a run writes runs/NAME/last.pt")
    data: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    if data.get("schema") != "spotgrid.checkpoint/v1":
        raise ValueError(f"{path}: schema {data.get('schema')!r}, expected 'spotgrid.checkpoint/v1'; train again")
    return data


def forbidden(checkpoint: Path) -> str | None:
    """Why a licence forbids shipping these weights, or those that they began as; None when nothing does.

    A run writes it into its checkpoints (`not_shipped`). Of older ones the scenes are asked, where they still are.
    """
    seen: set[Path] = set()
    while checkpoint.is_file() and checkpoint.resolve() not in seen:
        seen.add(checkpoint.resolve())
        data = read(checkpoint)
        if reason := data.get("not_shipped") or forbids(Path(data["config"].get("scenes") or "?")):
            return str(reason)
        checkpoint = Path(data["config"].get("init") or "?")
    return None


def forbids(scenes: Path) -> str | None:
    """`why_not_shipped` of a folder, None where there is none."""
    return why_not_shipped(scenes) if scenes.is_dir() else None


def check_lessons(checkpoint: Path, folders: Iterable[Path]) -> None:
    """Refuse to teach a network's heads by scenes that its weights, which may be shipped, were not taught by.

    Raises:
        ValueError: a folder's licence forbids shipping what it taught, and nothing forbids shipping the checkpoint.
    """
    reasons = [reason for reason in map(forbids, folders) if reason]
    if reasons and forbidden(checkpoint) is None:
        raise ValueError(
            f"{reasons[0]}; {checkpoint} may be shipped and would not know: give other scenes, or a run for research"
        )


def load_network(path: Path, *, ema: bool = True) -> nn.Module:
    """The network of a checkpoint in eval mode; `ema`: its averaged weights. With `views` it looks so many times, and
    with `beside` others look with it."""
    data = read(path)
    networks = []
    for weights in (data["ema" if ema else "model"], *data.get("beside", ())):
        networks.append(
            build(data["config"].get("network", DEFAULT), data["config"]["encoder"], data["config"]["width"])
        )
        networks[-1].load_state_dict(weights)
    network = networks[0] if len(networks) == 1 else Together(networks)
    views = data.get("views", 1)
    return (network if views == 1 else Mirrored(network, views)).eval()


def start_from(network: nn.Module, path: Path) -> None:
    """Fill a network with a checkpoint's averaged weights; parts that it lacks, or had in another shape, stay.

    Raises:
        ValueError: not a checkpoint, or nothing in it fits.
    """
    old, own = read(path)["ema"], network.state_dict()
    fits = {key: value for key, value in old.items() if key in own and own[key].shape == value.shape}
    if not fits:
        raise ValueError(f"{path}: no weight of it fits this network; check network=, encoder= and width=")
    network.load_state_dict(own | fits)
    fresh = sorted({key.partition(".")[0] for key in own.keys() - fits.keys()})
    print(
        f"started from {path.name}: {len(fits)} of {len(own)} tensors; new: {', '.join(fresh) or 'none'}",
        file=sys.stderr,
    )


def slim(path: Path, out: Path, views: int = 1, beside: Sequence[Path] = ()) -> None:
    """Write a checkpoint's averaged weights alone: enough to export, and for `init=` of another run.

    Args:
        path, out: from where, and where to.
        views: how many times what is exported from it looks at each place, see `model.network.Mirrored`.
        beside: checkpoints of networks that look with it, see `model.network.Together`.

    Raises:
        ValueError: not checkpoints, not of one network, or `beside` with one that has others beside it.
    """
    data = _read_one(path) if beside else read(path)
    others = [_read_one(other)["ema"] for other in beside]
    for other, weights in zip(beside, others, strict=True):
        _check_same(path, other, data["ema"], weights)
    kept: dict[str, Any] = {key: data[key] for key in _KEPT if key in data}
    if reasons := [reason for one in (path, *beside) if (reason := forbidden(one))]:
        kept["not_shipped"] = reasons[0]
    if others:
        origin = [hashlib.sha256(other.read_bytes()).hexdigest() for other in beside]
        kept |= {"beside": others, "beside_sha256": origin}
    out.parent.mkdir(parents=True, exist_ok=True)
    torch.save(kept | {"config": without_folders(data["config"]), "views": views}, out)


def _read_one(path: Path) -> dict[str, Any]:
    """A checkpoint of one network: of several side by side, all but the first would be forgotten."""
    data = read(path)
    if others := len(data.get("beside", ())):
        raise ValueError(f"{path} holds {1 + others} networks side by side; give the checkpoints that it was made of")
    return data


def _check_same(path: Path, other: Path, own: dict[str, Tensor], weights: dict[str, Tensor]) -> None:
    if own.keys() != weights.keys() or any(own[key].shape != weights[key].shape for key in own):
        raise ValueError(f"{path} and {other} are of different networks; give runs of one architecture and width")


def mean_of(path: Path, other: Path, out: Path, share: float = 0.5) -> None:
    """Write the mean of two checkpoints' averaged weights, one of which began from the other (Wortsman et al., 2022,
    "Model soups" and "Robust fine-tuning of zero-shot models"): it often keeps what both learnt.

    Args:
        share: of `other`, 0 to 1.

    Raises:
        ValueError: not checkpoints of one network, one of several side by side, or no such share.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"--share is {share:g}; it must be 0 to 1")
    weights = _read_one(other)["ema"]
    _check_same(path, other, _read_one(path)["ema"], weights)
    slim(path, out)
    data = read(out)
    own = data["ema"]
    mean = {key: value.lerp(weights[key], share) if value.is_floating_point() else value for key, value in own.items()}
    parents = [
        {"checkpoint_sha256": hashlib.sha256(one.read_bytes()).hexdigest(), "share": of}
        for one, of in ((path, 1 - share), (other, share))
    ]
    if reason := data.get("not_shipped") or forbidden(other):
        data["not_shipped"] = reason
    torch.save(data | {"ema": mean, "mean_of": parents}, out)


def without_folders(config: dict[str, Any]) -> dict[str, Any]:
    """A run's values with paths cut to their names, so that no machine's folders are passed on."""
    return {
        key: Path(value).name if isinstance(value, str) and "/" in value else value for key, value in config.items()
    }


def main(argv: list[str] | None = None) -> int:
    """Entry point of `python -m training.checkpoint`."""
    parser = argparse.ArgumentParser(
        prog="python -m training.checkpoint", description="Keep the averaged weights alone."
    )
    parser.add_argument("checkpoint", type=Path, help="a run's last.pt or best.pt")
    parser.add_argument("out", type=Path, help="the file to write")
    parser.add_argument(
        "--views", type=int, choices=MIRRORS, default=1, help="how often it looks at each place (default 1)"
    )
    parser.add_argument("--mean-with", type=Path, metavar="FILE", help="a run that began from this one: write the mean")
    parser.add_argument("--share", type=float, default=0.5, help="of --mean-with in the mean (default .5)")
    parser.add_argument(
        "--beside",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="networks that look with it: their mean is said",
    )
    args = parser.parse_args(argv)
    try:
        if args.mean_with is not None:
            mean_of(args.checkpoint, args.mean_with, args.out, args.share)
            args.checkpoint = args.out
        slim(args.checkpoint, args.out, args.views, args.beside)
    except (ValueError, OSError) as error:
        print(f"training.checkpoint: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
