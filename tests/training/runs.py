"""Runs that take a second: a narrow U-Net on four small scenes."""

from __future__ import annotations

from pathlib import Path

from datasets.compose import Recipe, render_scene
from datasets.pictures import Pool
from datasets.scene import save
from training.config import Config, configure

RECIPE = Recipe(size_mm=64, pictures={}, clean_share=0.2, stains=(3, 6), area_mm2=(4.0, 300.0), giant_share=0.0)


def render(folder: Path, count: int = 4) -> Path:
    """A folder of small scenes."""
    for seed in range(count):
        save(render_scene(RECIPE, Pool(None, "train"), seed), folder, f"s{seed}")
    return folder


def arguments(scenes: Path, **changes: object) -> list[str]:
    """key=value of a tiny run."""
    pairs = {
        "scenes": scenes,
        "val_scenes": scenes,
        "network": "unet",
        "encoder": "timm:test_resnet",
        "width": 8,
        "crop": 64,
        "batch": 2,
        "close": 1,
        "workers": 0,
        "val_limit": 1,
        "val_every": 99,
        "ema": 0.5,
        "device": "cpu",
        **changes,
    }
    return [f"{key}={value}" for key, value in pairs.items()]


def tiny(scenes: Path, **changes: object) -> Config:
    """A tiny run's values."""
    return configure(arguments(scenes, **changes))
