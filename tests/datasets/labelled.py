"""Small sets in each format, made from one truth: what every reader must give back."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.rle import runs_of_mask, text_of_runs

HEIGHT, WIDTH = 60, 80
POLYGON = [[10.0, 12.0], [34.0, 12.0], [34.0, 40.0], [10.0, 40.0]]
BOX = (50.0, 20.0, 70.0, 44.0)
"""Left, top, right, bottom."""


def polygon_mask() -> NDArray[np.bool_]:
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[12:40, 10:34] = True
    return mask


def box_mask() -> NDArray[np.bool_]:
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[20:44, 50:70] = True
    return mask


def picture(path: Path, seed: int = 0) -> None:
    """Noisy cloth, another one for each seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(60, 230, (6, 8, 3)).astype(np.float32)
    cloth = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) + rng.normal(0, 3, (HEIGHT, WIDTH, 3))
    assert cv2.imwrite(str(path), np.clip(cloth, 0, 255).astype(np.uint8))


def coco(root: Path) -> None:
    """a.png: a polygon of coffee; b.png: the same as run lengths, plain and as text; c.png: a box; clean.png."""
    for seed, name in enumerate("abc"):
        picture(root / "images" / f"{name}.png", seed)
    picture(root / "images" / "clean.png", 9)
    images = [
        {"id": i, "file_name": f"{name}.png", "width": WIDTH, "height": HEIGHT}
        for i, name in enumerate(("a", "b", "c", "clean"))
    ]
    runs = runs_of_mask(polygon_mask())
    drawn: list[tuple[int, object]] = [
        (0, [np.ravel(POLYGON).tolist()]),
        (1, {"size": [HEIGHT, WIDTH], "counts": runs}),
        (1, {"size": [HEIGHT, WIDTH], "counts": text_of_runs(runs)}),
        (2, []),
    ]
    left, top, right, bottom = BOX
    annotations = [
        {
            "id": i,
            "image_id": image,
            "category_id": 7,
            "segmentation": shape,
            "bbox": [left, top, right - left, bottom - top],
        }
        for i, (image, shape) in enumerate(drawn)
    ]
    document = {"images": images, "annotations": annotations, "categories": [{"id": 7, "name": "coffee"}]}
    (root / "annotations.json").write_text(json.dumps(document))


def yolo(root: Path) -> None:
    """a.png: a segment and a box; clean.png: nothing. Below a folder train, as exports have it."""
    picture(root / "train" / "images" / "a.png", 0)
    picture(root / "train" / "images" / "clean.png", 1)
    left, top, right, bottom = BOX
    shares = ((left + right) / 2 / WIDTH, (top + bottom) / 2 / HEIGHT, (right - left) / WIDTH, (bottom - top) / HEIGHT)
    segment = " ".join(f"{x / WIDTH!r} {y / HEIGHT!r}" for x, y in POLYGON)
    (root / "train" / "labels").mkdir()
    (root / "train" / "labels" / "a.txt").write_text(f"1 {segment}\n0 {' '.join(map(repr, shares))}\n")
    (root / "classes.txt").write_text("blood\ncoffee\n")


def labelme(root: Path) -> None:
    """a.png: polygon, rectangle, circle, mask, and a tape; in a subfolder."""
    folder = root / "monday"
    picture(folder / "a.png", 0)
    done, data = cv2.imencode(".png", polygon_mask()[12:40, 10:34].astype(np.uint8) * 255)
    assert done
    shapes = [
        {"label": "coffee", "shape_type": "polygon", "points": POLYGON},
        {"label": "blood", "shape_type": "rectangle", "points": [[BOX[2], BOX[1]], [BOX[0], BOX[3]]]},
        {"label": "ink", "shape_type": "circle", "points": [[40.0, 30.0], [45.0, 30.0]]},
        {
            "label": "coffee",
            "shape_type": "mask",
            "points": [[10, 12], [33, 39]],
            "mask": base64.b64encode(data.tobytes()).decode(),
        },
        {"label": "scale 10 mm", "shape_type": "line", "points": [[5.0, 50.0], [45.0, 50.0]]},
    ]
    document = {"shapes": shapes, "imagePath": "a.png", "imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH}
    (folder / "a.json").write_text(json.dumps(document))


def cvat(root: Path) -> None:
    """a.png: polygon, box, ellipse, mask, and a tape; clean.png."""
    picture(root / "images" / "a.png", 0)
    picture(root / "images" / "clean.png", 1)
    points = ";".join(f"{x},{y}" for x, y in POLYGON)
    runs = ", ".join(map(str, runs_of_mask(polygon_mask()[10:42, 8:40], by_rows=True)))
    left, top, right, bottom = BOX
    (root / "annotations.xml").write_text(f"""<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><id>1</id></task></meta>
<image id="0" name="a.png" width="{WIDTH}" height="{HEIGHT}">
<polygon label="coffee" source="manual" occluded="0" points="{points}" z_order="0"></polygon>
<box label="blood" xtl="{left}" ytl="{top}" xbr="{right}" ybr="{bottom}"></box>
<ellipse label="ink" cx="40" cy="30" rx="5" ry="5"></ellipse>
<mask label="coffee" rle="{runs}" left="8" top="10" width="32" height="32"></mask>
<polyline label="scale 1 cm" points="5,50;45,50"></polyline>
</image>
<image id="1" name="clean.png" width="{WIDTH}" height="{HEIGHT}"></image></annotations>""")


def masks(root: Path) -> None:
    """coffee_1.png with its mask, clean.png with an empty one."""
    for seed, name in enumerate(("coffee_1", "clean")):
        picture(root / "images" / f"{name}.png", seed)
        mask = polygon_mask() if name == "coffee_1" else polygon_mask() & False
        (root / "masks").mkdir(exist_ok=True)
        cv2.imwrite(str(root / "masks" / f"{name}.png"), mask.astype(np.uint8) * 255)


def mvtec(root: Path) -> None:
    """Category carpet: good ones to train and test on, one with a mark of colour, one with a hole."""
    top = root / "carpet"
    for seed, name in enumerate(("train/good/000", "test/good/000", "test/color/000", "test/hole/000")):
        picture(top / f"{name}.png", seed)
    for kind in ("color", "hole"):
        (top / "ground_truth" / kind).mkdir(parents=True)
        cv2.imwrite(str(top / "ground_truth" / kind / "000_mask.png"), polygon_mask().astype(np.uint8) * 255)


MAKERS = {"coco": coco, "yolo": yolo, "labelme": labelme, "cvat": cvat, "masks": masks, "mvtec": mvtec}
