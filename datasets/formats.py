"""Every layout that is read, by name, and how one is recognised."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from datasets.annotations import Reader, folder_or_error
from datasets.coco import coco_files, read_coco
from datasets.cvat import cvat_files, read_cvat
from datasets.labelme import labelme_files, read_labelme
from datasets.paired import mvtec_roots, read_masks, read_mvtec
from datasets.readers import ReaderError
from datasets.yolo import read_yolo, yolo_pictures


def _mask_folder(root: Path) -> bool:
    return (root / "images").is_dir() and (root / "masks").is_dir()


READERS: Final[dict[str, Reader]] = {
    "coco": read_coco,
    "yolo": read_yolo,
    "masks": read_masks,
    "labelme": read_labelme,
    "cvat": read_cvat,
    "mvtec": read_mvtec,
}

_SIGNS: Final[dict[str, Callable[[Path], object]]] = {
    "mvtec": mvtec_roots,
    "masks": _mask_folder,
    "yolo": yolo_pictures,
    "cvat": cvat_files,
    "coco": coco_files,
    "labelme": labelme_files,
}


def format_of(root: Path) -> str:
    """The one layout that a folder has.

    Raises:
        ReaderError: none is recognised, or several are.
    """
    folder_or_error(root)
    found = [name for name, sign in _SIGNS.items() if sign(root)]
    if len(found) == 1:
        return found[0]
    what = f"looks like {' and '.join(found)}" if found else "is laid out in no way that is known"
    raise ReaderError(f"{root}: {what}; say which by --format ({', '.join(READERS)})")
