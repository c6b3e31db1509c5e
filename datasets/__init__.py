"""Pictures with truth: the renderer (no torch), the frozen test set, and readers for pictures of others."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets.camera import Camera
    from datasets.compose import Recipe, render_scene
    from datasets.pictures import Pool
    from datasets.scene import Scene, Stain, load, save
    from datasets.studio import Cloth, Light, Spill, Studio

__all__ = [
    "Camera",
    "Cloth",
    "Light",
    "Pool",
    "Recipe",
    "Scene",
    "Spill",
    "Stain",
    "Studio",
    "load",
    "render_scene",
    "save",
]

_HOMES = {
    "Camera": "datasets.camera",
    "Cloth": "datasets.studio",
    "Light": "datasets.studio",
    "Pool": "datasets.pictures",
    "Recipe": "datasets.compose",
    "Scene": "datasets.scene",
    "Spill": "datasets.studio",
    "Stain": "datasets.scene",
    "Studio": "datasets.studio",
    "load": "datasets.scene",
    "render_scene": "datasets.compose",
    "save": "datasets.scene",
}


def __getattr__(name: str) -> Any:
    """Import a public name's module on first use, so that `import datasets` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'datasets' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
