from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.readers import (
    ReaderError,
    chemistry_of,
    class_names,
    parse_boxes,
    read_box_folder,
    read_mask_folder,
)


def write(path: Path, height: int = 8, width: int = 12, value: int = 200) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((height, width, 3), value, np.uint8))


@pytest.fixture
def masked(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        write(tmp_path / "images" / f"{name}.jpg")
        mask = np.zeros((8, 12), np.uint8)
        mask[2:4, 5:9] = 255
        (tmp_path / "masks").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "masks" / f"{name}.png"), mask)
    return tmp_path


def test_masks_are_read_with_their_pictures(masked: Path) -> None:
    problems: list[str] = []
    photos = list(read_mask_folder(masked, problems.append))
    assert [photo.name for photo in photos] == ["a", "b"]
    assert photos[0].image.shape == (8, 12, 3)
    assert photos[0].mask.dtype == bool
    assert photos[0].mask.sum() == 8
    assert photos[0].mask[3, 8]
    assert not problems


def test_a_broken_picture_is_one_line_and_the_rest_load(masked: Path) -> None:
    (masked / "images" / "a.jpg").write_bytes(b"\xff\xd8\xffnot a jpeg")
    problems: list[str] = []
    assert [photo.name for photo in read_mask_folder(masked, problems.append)] == ["b"]
    assert len(problems) == 1
    assert "a.jpg" in problems[0]
    assert "\n" not in problems[0]


def test_a_missing_mask_is_told(masked: Path) -> None:
    (masked / "masks" / "b.png").unlink()
    problems: list[str] = []
    assert [photo.name for photo in read_mask_folder(masked, problems.append)] == ["a"]
    assert "b.png" in problems[0]


def test_a_mask_of_another_size_is_told_with_both_sizes(masked: Path) -> None:
    write(masked / "masks" / "b.png", 4, 6)
    problems: list[str] = []
    list(read_mask_folder(masked, problems.append))
    assert "12 x 8" in problems[0]
    assert "6 x 4" in problems[0]


@pytest.mark.parametrize("missing", ["images", "masks"])
def test_a_folder_without_its_parts_is_refused_before_reading(masked: Path, missing: str) -> None:
    (masked / missing).rename(masked / "elsewhere")
    with pytest.raises(ReaderError, match=missing):
        read_mask_folder(masked, print)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(ReaderError, match="holds no picture"):
        read_mask_folder(tmp_path, print)


@pytest.fixture
def boxed(tmp_path: Path) -> Path:
    write(tmp_path / "images" / "a.jpg", 100, 200)
    write(tmp_path / "images" / "clean.jpg", 100, 200)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("1 0.5 0.5 0.1 0.2\n\n0 1.0 0.0 0.2 0.2\n")
    (tmp_path / "classes.txt").write_text("blood\ncoffee\n")
    return tmp_path


def test_boxes_are_read_in_pixels_and_cut_to_the_picture(boxed: Path) -> None:
    problems: list[str] = []
    with_boxes, clean = read_box_folder(boxed, problems.append)
    assert with_boxes.boxes_px.tolist() == [[90, 40, 110, 60], [180, 0, 200, 10]]
    assert with_boxes.classes == ("coffee", "blood")
    assert clean.boxes_px.shape == (0, 4)
    assert not problems


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("0 0.5 0.5 0.1", "line 1 has 4 values"),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2", "polygons are not read"),
        ("zero 0.5 0.5 0.1 0.1", "not five numbers"),
        ("2 0.5 0.5 0.1 0.1", "there are 2 names"),
        ("-1 0.5 0.5 0.1 0.1", "there are 2 names"),
        ("0 50 50 10 10", "0 to 1"),
        ("0 0.5 0.5 0 0.1", "above 0"),
        ("0 nan 0.5 0.1 0.1", "0 to 1"),
    ],
)
def test_a_bad_label_line_is_told_and_the_rest_load(boxed: Path, line: str, says: str) -> None:
    (boxed / "labels" / "a.txt").write_text(line)
    problems: list[str] = []
    assert [photo.name for photo in read_box_folder(boxed, problems.append)] == ["clean"]
    assert says in problems[0]
    assert "a.txt" in problems[0]


def test_labels_that_are_no_text_are_told(boxed: Path) -> None:
    (boxed / "labels" / "a.txt").write_bytes(b"\xff\xfe\x00")
    problems: list[str] = []
    assert len(list(read_box_folder(boxed, problems.append))) == 1
    assert "a.txt" in problems[0]


@pytest.mark.parametrize("names", ["names: [blood, coffee]\n", "names:\n  0: blood\n  1: coffee\n"])
def test_class_names_may_stand_in_yaml(boxed: Path, names: str) -> None:
    (boxed / "classes.txt").unlink()
    (boxed / "data.yaml").write_text(names)
    assert class_names(boxed) == ["blood", "coffee"]


@pytest.mark.parametrize("text", ["nc: 2\n", "names:\n  1: blood\n", "- a\n", "names: 3\n", "a: [\n"])
def test_yaml_without_usable_names_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(ReaderError, match=r"classes\.txt"):
        class_names(tmp_path)


def test_no_class_names_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReaderError, match=r"write classes\.txt"):
        class_names(tmp_path)


share = st.floats(0, 1)


@given(st.lists(st.tuples(st.integers(0, 8), share, share, st.floats(1e-6, 1), st.floats(1e-6, 1)), max_size=5))
def test_what_is_written_is_read_back(rows: list[tuple[int, float, float, float, float]]) -> None:
    text = "\n".join(" ".join(map(repr, row)) for row in rows)
    assert parse_boxes(text, 9) == [(row[0], row[1:]) for row in rows]


def test_chemistry_is_told_by_names() -> None:
    assert chemistry_of("blood_0003") == "protein"
    assert chemistry_of("wine_0010") == "tannin"
    assert chemistry_of("mustard") == "dye"
    assert chemistry_of("chili_oil") == "combination"
    assert chemistry_of("photo_17") is None
