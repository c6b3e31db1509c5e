"""Search for better values with Optuna: many short runs, each judged by its best validation F1, over several seeds.

    python -m training.sweep name=mine steps=500 lr=log:1e-4..1e-2 width=32|48|64 batch=4..8 --trials 20 --seeds 0,1
    python -m training.sweep name=mine ... --trials 20     # the same name goes on: 20 more, drawn knowing the others

`key=LOW..HIGH` is a range (whole numbers where the value is one), `key=log:LOW..HIGH` one over magnitudes, `key=A|B|C`
a choice; other key=value hold for all. A trial's value is the mean over the seeds, and its runs lie in
runs/NAME/trial-0003-seed-0. The study is runs/NAME/sweep.db; a trial that was cut counts for nothing in it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final

import optuna

from training.config import Config, configure
from training.tables import markdown
from training.train import run

_KINDS: Final[dict[str, type]] = {field.name: type(field.default) for field in fields(Config)}
Space = dict[str, Callable[[optuna.Trial], Any]]


def space_of(arguments: list[str]) -> tuple[Space, list[str]]:
    """What to search, by key, and the arguments that hold for all.

    Raises:
        ValueError: an unknown key, or a range that is none.
    """
    space, fixed = Space(), list[str]()
    for argument in arguments:
        key, _, told = argument.partition("=")
        if ".." not in told and "|" not in told:
            fixed.append(argument)
            continue
        if key not in _KINDS:
            raise ValueError(f"unknown key {key!r}; known: {', '.join(_KINDS)}")
        space[key] = _choice(key, told) if "|" in told else _range(key, told)
    if not space:
        raise ValueError("nothing to search: give at least one key=LOW..HIGH, key=log:LOW..HIGH or key=A|B")
    return space, fixed


def _choice(key: str, told: str) -> Callable[[optuna.Trial], Any]:
    values = told.split("|")
    for value in values:
        configure([f"{key}={value}"])
    return lambda trial: trial.suggest_categorical(key, values)


def _range(key: str, told: str) -> Callable[[optuna.Trial], Any]:
    log = told.startswith("log:")
    low, _, high = told.removeprefix("log:").partition("..")
    try:
        ends = _KINDS[key](low), _KINDS[key](high)
        if _KINDS[key] not in (int, float) or not ends[0] < ends[1] or (log and ends[0] <= 0):
            raise ValueError
    except ValueError:
        raise ValueError(
            f"{key}={told}: expected LOW..HIGH of numbers, LOW below HIGH (and above 0 with log:)"
        ) from None
    if _KINDS[key] is int:
        return lambda trial: trial.suggest_int(key, *ends, log=log)
    return lambda trial: trial.suggest_float(key, *ends, log=log)


def sweep(space: Space, base: Config, trials: int, seeds: list[int], seed: int = 0) -> optuna.Study:
    """Try so many values; see the module's text.

    Args:
        space: from `space_of`.
        base: what holds for all; its name is the sweep's.
        trials: how many more.
        seeds: of each trial's runs.
        seed: of the sampler.
    """
    folder = Path(base.runs) / base.name
    folder.mkdir(parents=True, exist_ok=True)
    store = f"sqlite:///{folder / 'sweep.db'}"
    study = optuna.create_study(
        storage=store,
        study_name=base.name,
        direction="maximize",
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=seed),
    )
    study.optimize(lambda trial: _value(trial, space, base, seeds), n_trials=trials, catch=(ValueError,))
    return study


def _value(trial: optuna.Trial, space: Space, base: Config, seeds: list[int]) -> float:
    chosen = [f"{key}={suggest(trial)}" for key, suggest in space.items()]
    tried = replace(base, **{key: getattr(configure(chosen), key) for key in space})
    scores = []
    for seed in seeds:
        name = f"{base.name}/trial-{trial.number:04d}-seed-{seed}"
        config = configure([f"{key}={value}" for key, value in vars(replace(tried, seed=seed, name=name)).items()])
        scores.append(run(config, Path(base.runs) / name).best)
    trial.set_user_attr("scores", scores)
    return statistics.fmean(scores)


def table(study: optuna.Study) -> str:
    """The trials, best first, as Markdown: values, mean F1 and each seed's."""
    done = [trial for trial in study.trials if trial.value is not None]
    keys = sorted({key for trial in done for key in trial.params})
    rows = [
        [
            str(trial.number),
            *(_short(trial.params.get(key, "")) for key in keys),
            f"{trial.value:.4f}",
            " ".join(f"{score:.4f}" for score in trial.user_attrs["scores"]),
        ]
        for trial in sorted(done, key=lambda trial: -(trial.value or 0.0))
    ]
    return markdown(["trial", *keys, "mean F1", "of the seeds"], rows)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def main(argv: list[str] | None = None) -> int:
    """Entry point of `python -m training.sweep`."""
    parser = argparse.ArgumentParser(
        prog="python -m training.sweep", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("values", nargs="+", metavar="key=value", help="values of training.train, ranges and choices")
    parser.add_argument("--trials", type=int, default=20, help="how many more (default 20)")
    parser.add_argument("--seeds", default="0", help="of each trial's runs, comma-separated (default 0)")
    parser.add_argument("--sampler-seed", type=int, default=0, help="of the search itself (default 0)")
    args = parser.parse_args(argv)
    try:
        space, fixed = space_of(args.values)
        base, seeds = configure(fixed), [int(seed) for seed in args.seeds.split(",")]
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = sweep(space, base, args.trials, seeds, args.sampler_seed)
    except (ValueError, OSError) as error:
        print(f"training.sweep: {error}", file=sys.stderr)
        return 2
    if not any(trial.value is not None for trial in study.trials):
        print("training.sweep: no trial came to an end; see the messages above", file=sys.stderr)
        return 1
    print(table(study))
    best = {"params": study.best_params, "val_f1": study.best_value}
    (Path(base.runs) / base.name / "best.json").write_text(json.dumps(best, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
