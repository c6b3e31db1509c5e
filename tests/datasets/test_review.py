from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from datasets import prepare, review
from datasets.coco import read_coco
from datasets.proposals import agreement, regions_of, uncertainty, union
from datasets.readers import read_mask_folder
from datasets.stored_maps import read_maps
from inference_service.ledger.export import export
from inference_service.ledger.ledger import Ledger
from model.grid import Grid, StainMap

HEIGHT, WIDTH, SCALE = 200, 300, 0.2
"""A picture of 60 x 40 mm."""


def stain_map(number: int, confidence: float, *, cells: int = 1, unsure: bool = False, **more: Any) -> StainMap:
    """`cells` cells of tannin in row 1, each with the middle 4 x 4 mm stained."""
    bits = np.zeros((cells, 10, 10), np.bool_)
    bits[:, 3:7, 3:7] = True
    classes = np.zeros((cells, 6), np.float32)
    classes[:, 1] = 1
    px_to_mm = np.array([[SCALE, 0, SCALE / 2], [0, SCALE, SCALE / 2], [0, 0, 1]])
    return StainMap(
        grid=Grid(4, 6),
        row=np.full(cells, 1, np.int16),
        col=np.arange(1, 1 + cells, dtype=np.int16),
        bits=bits.reshape(cells, 100),
        classes=classes,
        confidence=np.full(cells, confidence, np.float32),
        unsure=np.full(cells, unsure),
        model="m@1+0",
        threshold=0.3,
        image_px=(WIDTH, HEIGHT),
        mm_per_px=SCALE,
        px_to_mm=px_to_mm,
        resolvable_mm2=1.0,
        id=f"MAP{number}",
        source=f"coat{number}.png",
        garment_id=f"garment-{number}",
        **more,
    )


MAPS = [stain_map(0, 0.99), stain_map(1, 0.5), stain_map(2, 0.8), stain_map(3, 0.99, unsure=True)]


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).uniform(60, 220, (7, 9, 3)).astype(np.float32)
    cv2.imwrite(str(path), cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).clip(0, 255))


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Maps as `spotgrid detect --out` writes them, with the pictures."""
    for number, one in enumerate(MAPS):
        (tmp_path / "maps").mkdir(exist_ok=True)
        (tmp_path / "maps" / f"coat{number}.stainmap.json").write_text(json.dumps(one.to_json()))
        picture(tmp_path / "pictures" / f"coat{number}.png", number)
    return tmp_path


def call_out(folder: Path, *more: str) -> int:
    where = ["--maps", str(folder / "maps"), "--pictures", str(folder / "pictures"), "--out", str(folder / "tasks")]
    return review.main(["out", *where, *more])


def test_the_least_sure_map_comes_first() -> None:
    assert uncertainty(stain_map(0, 0.99, cells=0)) == 0
    assert uncertainty(MAPS[1]) > uncertainty(MAPS[2]) > uncertainty(MAPS[3]) > uncertainty(MAPS[0]) > 0
    chosen = review.choose(MAPS, 4, 0, 0)
    assert [m.id for m, _, _ in chosen] == ["MAP1", "MAP2", "MAP3", "MAP0"]
    assert {why for _, _, why in review.choose(MAPS, 100, 0.1, 0)} == {"unsure"}  # all are looked at: nothing to draw


def test_a_share_is_drawn_blindly_and_the_same_each_time() -> None:
    many = [stain_map(i, 0.3 + 0.6 * i / 50) for i in range(50)]
    chosen = review.choose(many, 20, 0.5, seed=4)
    assert [why for _, _, why in chosen].count("random") == 10
    assert len({m.id for m, _, _ in chosen}) == 20
    assert [m.id for m, _, _ in chosen] == [m.id for m, _, _ in review.choose(many, 20, 0.5, seed=4)]
    for count, share in ((0, 0.1), (3, 1.5)):
        with pytest.raises(ValueError, match="--count"):
            review.choose(many, count, share, 0)


def test_outlines_lie_on_the_picture_where_the_map_says() -> None:
    (region,) = regions_of(MAPS[0])
    whole = np.zeros((HEIGHT, WIDTH), np.bool_)
    whole[65:85, 65:85] = True  # 13 to 17 mm both ways
    assert region.label == "tannin"
    assert agreement(region.on((HEIGHT, WIDTH)), whole) == 1
    assert agreement(whole & False, whole & False) == 1
    assert union([], (3, 4)).sum() == 0


def test_tasks_are_ordered_by_name_and_carry_proposals(kept: Path) -> None:
    assert call_out(kept, "--random-share", "0", "--count", "3") == 0
    names = sorted(path.name for path in (kept / "tasks" / "images").iterdir())
    assert names == ["00001_MAP1.png", "00002_MAP2.png", "00003_MAP3.png"]
    tasks = list(read_coco(kept / "tasks", pytest.fail))
    assert [[r.label for r in task.regions] for task in tasks] == [["tannin"]] * 3
    assert call_out(kept) == 2


def corrected(tasks: Path, path: Path) -> Path:
    """As a label program exports it: the first task lost its mark, the second one's was moved, the rest is not done."""
    document = json.loads((tasks / "annotations.json").read_text())
    document["images"] = document["images"][:2]
    (moved,) = (a for a in document["annotations"] if a["image_id"] == 2)
    moved["segmentation"] = [[100, 100, 120, 100, 120, 130, 100, 130]]
    document["annotations"] = [moved]
    path.write_text(json.dumps(document))
    return path


def test_corrections_come_back_as_truth_with_where_they_come_from(kept: Path) -> None:
    assert call_out(kept, "--random-share", "0") == 0
    exported = corrected(kept / "tasks", kept / "export.json")
    back = ["back", str(kept / "tasks"), str(exported), "--reviewer", "A. Spotter", "--out", str(kept / "truth")]
    assert review.main(back) == 0
    with (kept / "truth" / "pictures.csv").open(newline="") as file:
        clean, moved = csv.DictReader(file)
    assert (clean["map_id"], clean["agreement"], clean["garment"]) == ("MAP1", "0.0000", "garment-1")
    assert (moved["reviewer"], moved["model"], moved["mm_per_px"]) == ("A. Spotter", "m@1+0", "0.2")
    assert len(moved["annotations_sha256"]) == 64
    out = ["--out", str(kept / "prepared"), "--shares", "1", "0", "0"]
    assert prepare.main([str(kept / "truth"), *out]) == 0
    photos = {photo.name: photo for photo in read_mask_folder(kept / "prepared" / "train", pytest.fail)}
    assert sorted(int(photo.mask.sum()) for photo in photos.values()) == [0, 20 * 30]
    scenes = ["--out", str(kept / "scenes"), "--as", "scenes"]
    assert prepare.main([str(kept / "truth"), *scenes]) == 0


def test_a_task_whose_picture_changed_does_not_come_back(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call_out(kept, "--random-share", "0") == 0
    exported = corrected(kept / "tasks", kept / "export.json")
    picture(kept / "tasks" / "images" / "00001_MAP1.png", 77)
    back = ["back", str(kept / "tasks"), str(exported), "--reviewer", "A", "--out", str(kept / "truth")]
    assert review.main(back) == 0
    assert "was changed since" in capsys.readouterr().err
    assert len(list((kept / "truth" / "images").iterdir())) == 1
    exported.write_text("{}")
    assert review.main([*back[:-1], str(kept / "other")]) == 1
    assert review.main(["back", str(kept), str(exported), "--reviewer", "A", "--out", str(kept / "third")]) == 1


def test_a_map_without_its_picture_or_that_is_none_is_told(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (kept / "pictures" / "coat1.png").unlink()
    (kept / "maps" / "coat2.stainmap.json").write_text("{}")
    assert call_out(kept) == 0
    told = capsys.readouterr().err.splitlines()
    assert any("MAP1" in line and "missing" in line for line in told)
    assert any("coat2.stainmap.json" in line for line in told)
    assert len(list((kept / "tasks" / "images").iterdir())) == 2


def test_maps_of_a_ledger_export_are_the_same_maps(tmp_path: Path) -> None:
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    for one in MAPS:
        ledger.record_map(one, key_id="k")
    ledger.database.read(lambda connection: export(connection, tmp_path / "export", "csv"), snapshot=True)
    ledger.close()
    found = {m.id: m for m in read_maps(tmp_path / "export", pytest.fail)}
    assert {m.id: m.to_json() for m in MAPS} == {key: m.to_json() for key, m in found.items()}
    for number, one in enumerate(MAPS):
        picture(tmp_path / "pictures" / "2026-11-25" / f"{one.id}.jpg", number)
    (tmp_path / "export").rename(tmp_path / "maps")
    assert call_out(tmp_path, "--count", "2") == 0
