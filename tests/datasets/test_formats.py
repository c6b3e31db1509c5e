from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.annotations import Annotated, fill
from datasets.coco import coco_document, read_coco
from datasets.formats import READERS, format_of
from datasets.readers import ReaderError
from tests.datasets import labelled
from tests.datasets.labelled import BOX, HEIGHT, MAKERS, POLYGON, WIDTH, box_mask, polygon_mask

SHAPE = (HEIGHT, WIDTH)


def read(root: Path, name: str) -> tuple[dict[str, Annotated], list[str]]:
    problems: list[str] = []
    pictures = {picture.name: picture for picture in READERS[name](root, problems.append)}
    return pictures, problems


@pytest.mark.parametrize("name", MAKERS)
def test_each_layout_is_recognised_and_read_whole(name: str, tmp_path: Path) -> None:
    MAKERS[name](tmp_path)
    assert format_of(tmp_path) == name
    pictures, problems = read(tmp_path, name)
    assert problems == []
    assert all(picture.image.shape == (*SHAPE, 3) for picture in pictures.values())
    found = [r for p in pictures.values() for r in p.regions if r.exact and r.label not in {"ink"}]
    assert found
    assert all(np.array_equal(region.on(SHAPE), polygon_mask()) for region in found)


@pytest.mark.parametrize(("name", "picture"), [("coco", "images/c.png"), ("yolo", "train/images/a.png")])
def test_boxes_keep_their_place_and_are_not_exact(name: str, picture: str, tmp_path: Path) -> None:
    MAKERS[name](tmp_path)
    (box,) = (region for region in read(tmp_path, name)[0][picture].regions if not region.exact)
    assert np.array_equal(box.on(SHAPE), box_mask())


@pytest.mark.parametrize(("name", "picture"), [("labelme", "monday/a.png"), ("cvat", "images/a.png")])
def test_boxes_circles_and_tapes_of_label_programs(name: str, picture: str, tmp_path: Path) -> None:
    MAKERS[name](tmp_path)
    found = read(tmp_path, name)[0][picture]
    by_label = {region.label: region for region in found.regions}
    assert np.array_equal(by_label["blood"].on(SHAPE), box_mask())
    assert not by_label["blood"].exact
    assert by_label["ink"].mask.sum() == pytest.approx(np.pi * 25, rel=0.05)
    assert found.mm_per_px == pytest.approx(0.25)
    assert len(found.regions) == 4


@pytest.mark.parametrize(("name", "clean"), [("coco", "images/clean.png"), ("yolo", "train/images/clean.png")])
def test_a_picture_without_a_mark_is_clean(name: str, clean: str, tmp_path: Path) -> None:
    MAKERS[name](tmp_path)
    assert read(tmp_path, name)[0][clean].regions == ()


def test_mvtec_gives_clean_cloth_and_defects_by_folder(tmp_path: Path) -> None:
    labelled.mvtec(tmp_path)
    labels = {name: [r.label for r in p.regions] for name, p in read(tmp_path, "mvtec")[0].items()}
    assert labels == {
        "carpet/train/good/000.png": [],
        "carpet/test/good/000.png": [],
        "carpet/test/color/000.png": ["color"],
        "carpet/test/hole/000.png": ["hole"],
    }


@pytest.mark.parametrize("name", MAKERS)
def test_a_broken_picture_is_one_line_and_the_rest_load(name: str, tmp_path: Path) -> None:
    MAKERS[name](tmp_path)
    if name == "labelme":
        labelled.picture(tmp_path / "tuesday" / "a.png", 5)
        (tmp_path / "tuesday" / "a.json").write_text((tmp_path / "monday" / "a.json").read_text())
    before, _ = read(tmp_path, name)
    victim = next(path for key, path in ((key, p.path) for key, p in before.items()) if key)
    victim.write_bytes(b"\xff\xd8\xffnot a picture")
    after, problems = read(tmp_path, name)
    assert len(after) == len(before) - 1
    assert after
    assert len(problems) == 1
    assert victim.name in problems[0]
    assert "\n" not in problems[0]


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


BAD = {
    "coco": [
        ("annotations.json", f'"width": {WIDTH}', '"width": 81', "80 x 60"),
        ("annotations.json", f'"width": {WIDTH}, "height": {HEIGHT}', f'"width": {HEIGHT}, "height": {WIDTH}', "EXIF"),
        ("annotations.json", '"a.png"', '"../../a.png"', "not below"),
        ("annotations.json", '"category_id": 7', '"category_id": 8', "category_id 8"),
        ("annotations.json", "[10.0, 12.0, 34.0, 12.0, ", "[10.0, 12.0, 34.0, ", "odd number"),
        ("annotations.json", "[[10.0, 12.0, 34.0, 12.0, 34.0, 40.0, 10.0, 40.0]]", "[[1, 2, 3, 4]]", "3 or more"),
        ("annotations.json", '"file_name": "a.png", ', "", "file_name"),
    ],
    "yolo": [
        ("train/labels/a.txt", "1 0.125", "5 0.125", "line 1 has class 5"),
        ("train/labels/a.txt", "1 0.125", "1 7.125", "outside 0 to 1"),
        ("train/labels/a.txt", "1 0.125", "1 0.5 0.125", "odd number"),
        ("train/labels/a.txt", "\n0 ", "\nx ", "line 2"),
    ],
    "labelme": [
        ("monday/a.json", '"polygon"', '"linestrip"', "marks no area"),
        ("monday/a.json", '"imagePath": "a.png"', '"imagePath": "b.png"', "b.png"),
        ("monday/a.json", '"imagePath": "a.png", ', "", "imagePath"),
        ("monday/a.json", f'"imageHeight": {HEIGHT}', '"imageHeight": 61', "full size"),
        ("monday/a.json", '"scale 10 mm"', '"scale 10000 mm"', "0.02 to 5"),
        ("monday/a.json", '"mask": "', '"mask": "?', "mask of 'coffee'"),
    ],
    "cvat": [
        ("annotations.xml", 'label="coffee" ', "", "label"),
        ("annotations.xml", "10.0,12.0;", "10.0;", "pairs"),
        ("annotations.xml", 'left="8"', 'left="70"', "reaches beyond"),
        ("annotations.xml", "<box ", '<box rotation="5" ', "turned"),
        ("annotations.xml", 'rx="5"', 'rx="-5"', "no area"),
        ("annotations.xml", "<?xml", "<!DOCTYPE a [<!ENTITY b 'c'>]><?xml", "document type"),
    ],
}


@pytest.mark.parametrize(
    ("name", "file", "old", "new", "says"),
    [(name, *case) for name, cases in BAD.items() for case in cases],
)
def test_a_bad_annotation_is_told_in_one_line(
    name: str, file: str, old: str, new: str, says: str, tmp_path: Path
) -> None:
    MAKERS[name](tmp_path)
    before, _ = read(tmp_path, name)
    change(tmp_path / file, old, new)
    after, problems = read(tmp_path, name)
    assert len(problems) == 1, problems
    assert "\n" not in problems[0]
    assert len(after) < len(before)
    assert says in problems[0]


@pytest.mark.parametrize(("name", "file"), [("coco", "annotations.json"), ("cvat", "annotations.xml")])
def test_one_broken_file_leaves_the_others(name: str, file: str, tmp_path: Path) -> None:
    MAKERS[name](tmp_path)
    other = tmp_path / "annotations" / f"more{Path(file).suffix}"
    other.parent.mkdir()
    other.write_bytes((tmp_path / file).read_bytes()[:-9])
    (tmp_path / "x.json").write_text("{")
    pictures, problems = read(tmp_path, name)
    assert pictures
    assert len(problems) == 1
    assert other.name in problems[0]


CUT = [(name, cut) for name in MAKERS for cut in (0.0, 0.5)]


@pytest.mark.parametrize(("name", "cut"), CUT)
def test_any_file_cut_short_is_one_line_and_the_rest_load(name: str, cut: float, tmp_path: Path) -> None:
    MAKERS[name](tmp_path)
    if name == "labelme":
        labelled.picture(tmp_path / "tuesday" / "a.png", 5)
        (tmp_path / "tuesday" / "a.json").write_bytes((tmp_path / "monday" / "a.json").read_bytes())
    whole = len(read(tmp_path, name)[0])
    for path in sorted(p for p in tmp_path.rglob("*") if p.is_file()):
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * cut)])
        if path.suffix == ".txt" and path.parent.name == "labels" and not cut:
            assert len(read(tmp_path, name)[0]) == whole  # YOLO's way to say "clean"
        else:
            try:
                pictures, problems = read(tmp_path, name)
            except ReaderError as error:
                pictures, problems = {}, [str(error)]  # what names the classes, or the only file of labels
            assert len(pictures) < whole
            assert len(problems) == 1, problems
            assert "\n" not in problems[0]
        path.write_bytes(data)


@pytest.mark.parametrize("how", ["utf-16", "utf--1"])
def test_xml_in_another_encoding_is_told(how: str, tmp_path: Path) -> None:
    labelled.cvat(tmp_path)
    text = (tmp_path / "annotations.xml").read_text().replace("utf-8", how)
    (tmp_path / "annotations.xml").write_bytes(text.encode(how if how == "utf-16" else "utf-8"))
    pictures, problems = read(tmp_path, "cvat")
    assert (pictures, len(problems)) == ({}, 1)


def test_a_missing_mask_is_told(tmp_path: Path) -> None:
    labelled.mvtec(tmp_path)
    (tmp_path / "carpet" / "ground_truth" / "hole" / "000_mask.png").unlink()
    pictures, problems = read(tmp_path, "mvtec")
    assert len(pictures) == 3
    assert "no mask ground_truth/hole/000_mask.png" in problems[0]


@pytest.mark.parametrize("name", READERS)
def test_a_folder_of_another_kind_is_refused_at_once(name: str, tmp_path: Path) -> None:
    with pytest.raises(ReaderError):
        READERS[name](tmp_path, print)
    with pytest.raises(ReaderError, match="--format"):
        format_of(tmp_path)
    with pytest.raises(ReaderError, match="no such folder"):
        READERS[name](tmp_path / "nowhere", print)


def test_coco_that_we_write_is_read_back_the_same(tmp_path: Path) -> None:
    labelled.labelme(tmp_path)
    before = list(read(tmp_path, "labelme")[0].values())
    (tmp_path / "annotations.json").write_text(json.dumps(coco_document(before)))
    (after,) = read_coco(tmp_path, print)
    for one, other in zip(before[0].regions, after.regions, strict=True):
        assert (one.label, one.exact) == (other.label, other.exact)
        assert np.array_equal(one.on(SHAPE), other.on(SHAPE))


def test_a_fill_takes_the_pixels_whose_centres_lie_inside() -> None:
    triangle = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    assert fill(triangle, (4, 4)).astype(int).tolist() == [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert np.array_equal(fill(np.array(POLYGON), SHAPE), polygon_mask())
    left, top, right, bottom = BOX
    beyond = np.array([[left, top], [right + 500, top], [right + 500, bottom], [left, bottom]])
    assert fill(beyond, SHAPE)[20:44, 50:].all()


@given(st.lists(st.tuples(st.floats(-20, 40), st.floats(-20, 40)), min_size=3, max_size=8))
def test_a_fill_is_the_even_odd_rule(points: list[tuple[float, float]]) -> None:
    polygon = np.array(points)
    mask = fill(polygon, (20, 20))
    for y, x in ((0, 0), (7, 11), (19, 19), (10, 3)):
        crossings = 0
        for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
            if min(y0, y1) <= y + 0.5 < max(y0, y1):
                crossings += x0 + (y + 0.5 - y0) * ((x1 - x0) / (y1 - y0)) <= x + 0.5
        assert mask[y, x] == (crossings % 2 == 1)
