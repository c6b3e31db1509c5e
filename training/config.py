"""What a training run is made of: one flat, frozen table of values, printed at the start and saved with the result."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from model.architectures import DEFAULT


def option(default: Any, unit: str, text: str) -> Any:
    """A value of the table with its unit ("" where it has none) and what it is, both shown by `--help`."""
    return field(default=default, metadata={"unit": unit, "text": text})


@dataclass(frozen=True)
class Config:
    """Every value of a run. On the command line: key=value."""

    name: str = option("first-light", "", "folder under runs/")
    runs: str = option("runs", "folder", "where runs lie")
    scenes: str = option("scenes/train", "folder", "rendered training scenes; may grow while training")
    val_scenes: str = option("scenes/val", "folder", "rendered validation scenes")
    network: str = option(DEFAULT, "", "architecture: a file of model/architectures")
    encoder: str = option("tf_efficientnet_lite0", "", "what sees first; timm:NAME for any other one of timm")
    pretrained: bool = option(True, "", "start the default encoder from ImageNet weights, which a package holds")
    encoder_weights: str = option("", "file", "timm's weights of another encoder, .pt or .safetensors; empty = random")
    init: str = option("", "file", "checkpoint to start the weights from (not the optimiser); empty = none")
    teacher: str = option("", "file", "checkpoint whose answers are kept on all scenes but those `anew`; empty = none")
    anew: str = option("hand", "note", "of scenes that are learnt by their truth although there is a teacher")
    frozen: str = option(
        "conv_stem bn1 blocks.0 blocks.1", "names", "parts of the encoder that stay as they are: half a step's time"
    )
    width: int = option(48, "channels", "of the decoder")
    crop: int = option(256, "px", "side of what the network sees at once, a multiple of 32")
    close: int = option(2, "crops", "close ones a scene")
    taken_again: float = option(1.0, "share", "of the looks at a scene, shown as another camera might have taken it")
    batch: int = option(6, "scenes", "a step, over all processes and parts together")
    accumulate: int = option(1, "parts", "in which a step is computed, one after the other, where memory is short")
    steps: int = option(4000, "steps", "in all")
    patience: int = option(0, "looks", "validations without a better F1 after which the run ends; 0 = never")
    lr: float = option(2e-3, "per step", "peak learning rate of the decoder")
    encoder_lr: float = option(6e-4, "per step", "peak learning rate of the encoder")
    weight_decay: float = option(0.02, "per lr", "of AdamW")
    warmup: int = option(100, "steps", "over which the learning rate rises")
    clip: float = option(2.0, "norm", "to which a step's gradient is cut")
    norm_until: float = option(0.6, "share", "of the steps in which batch norms of the decoder learn; then they stay")
    ema: float = option(0.998, "per step", "decay of the averaged weights")
    mined_share: float = option(0.25, "share", "of the scenes, drawn from the clean ones that fooled the network")
    context_drop: float = option(0.1, "share", "of steps without context, so that each level stands alone")
    bce: float = option(3.0, "weight", "of the stain loss")
    positive: float = option(2.0, "weight", "of stained mm² in it, times more for a small stain")
    hardest: float = option(0.1, "weight", "of the hardest one percent of clean mm²")
    dice: float = option(0.5, "weight", "of the dice loss")
    chemistry: float = option(0.3, "weight", "of the chemistry loss")
    kept: float = option(1.0, "weight", "of the teacher's answers, on the scenes where they are kept")
    precision: str = option("fp32", "", "or bf16: half the time where the processor multiplies it itself")
    device: str = option("auto", "", "cpu, cuda, cuda:1 or auto: a GPU for each process where there are some")
    threads: int = option(1, "threads", "of torch, in each process")
    workers: int = option(1, "processes", "that load scenes, beside each training one")
    seed: int = option(0, "", "of everything random")
    log_every: int = option(20, "steps", "between lines of log.csv")
    save_every: int = option(200, "steps", "between checkpoints")
    val_every: int = option(500, "steps", "between validations")
    val_limit: int = option(60, "scenes", "a validation looks at")
    mlflow: str = option("", "URL", "of an MLflow store that is told, too: sqlite:///runs/mlflow.db; empty = none")


_FROM_1: Final = ("accumulate", "batch", "close", "steps", "threads", "log_every", "save_every", "val_every")
MAX_WORKERS: Final = 31
"""More would ask for scenes beyond what is planned ahead: see training/plan.py."""


def configure(arguments: list[str]) -> Config:
    """A Config from `FILE.toml` and `key=value` arguments, later ones winning.

    Raises:
        ValueError: an unknown key or a value of the wrong type; the message lists the known keys.
    """
    kinds = {f.name: type(f.default) for f in fields(Config)}
    values: dict[str, Any] = {}
    for argument in arguments:
        if argument.endswith(".toml") and "=" not in argument:
            pairs = tomllib.loads(Path(argument).read_text()).items()
        elif "=" in argument:
            pairs = {argument.split("=", 1)[0].lstrip("-"): argument.split("=", 1)[1]}.items()
        else:
            raise ValueError(f"{argument!r} is neither FILE.toml nor key=value")
        for key, value in pairs:
            if key not in kinds:
                raise ValueError(f"unknown key {key!r}; known: {', '.join(kinds)}")
            values[key] = _convert(key, value, kinds[key])
    return check(replace(Config(), **values))


def check(config: Config) -> Config:
    """The config itself, once its values are in range.

    Raises:
        ValueError: one is not; the message names the allowed range.
    """
    if config.crop % 32 or config.crop < 64:
        raise ValueError(f"crop={config.crop}: must be a multiple of 32, 64 or more")
    if config.precision not in ("bf16", "fp32"):
        raise ValueError(f"precision={config.precision}: choose bf16 or fp32")
    for key, least in {"patience": 0, **dict.fromkeys(_FROM_1, 1)}.items():
        if getattr(config, key) < least:
            raise ValueError(f"{key}={getattr(config, key)}: must be {least} or more")
    if not 0 <= config.workers <= MAX_WORKERS:
        raise ValueError(f"workers={config.workers}: must be 0 to {MAX_WORKERS}")
    if config.batch % config.accumulate:
        raise ValueError(f"batch={config.batch}: must be a multiple of accumulate={config.accumulate}")
    return config


def _convert(key: str, value: Any, kind: type) -> Any:
    if kind is bool and isinstance(value, str):
        if value.lower() not in ("true", "false", "1", "0"):
            raise ValueError(f"{key}={value}: expected true or false")
        return value.lower() in ("true", "1")
    try:
        return kind(value)
    except (TypeError, ValueError):
        raise ValueError(f"{key}={value}: expected a {kind.__name__}") from None


def describe(config: Config) -> dict[str, Any]:
    """The config as JSON types."""
    return dataclasses.asdict(config)


def table() -> str:
    """Every option with its default, its unit and what it is, a line each."""
    rows = [(f"{f.name}={f.default}", f.metadata["unit"], f.metadata["text"]) for f in fields(Config)]
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    return "\n".join(f"  {shown:<{first}}  {unit:<{second}}  {text}" for shown, unit, text in rows)
