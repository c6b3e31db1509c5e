from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets import prepare, public, scene
from datasets.meaning import Meanings
from datasets.prepared import share_per_mm2, why_not_shipped
from datasets.readers import ReaderError, chemistry_of, read_box_folder, read_mask_folder
from tests.datasets import labelled
from tests.datasets.labelled import MAKERS, polygon_mask
from training import evaluate

ALL_IN_TRAIN = ["--shares", "1", "0", "0"]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def record(folder: Path) -> dict[str, object]:
    told: dict[str, object] = json.loads((folder / "prepared.json").read_text())
    return told


@pytest.mark.parametrize("name", ["coco", "masks"])
def test_outlines_become_a_photo_folder_that_evaluate_reads(name: str, tmp_path: Path) -> None:
    MAKERS[name](tmp_path / "set")
    assert prepare.main([str(tmp_path / "set"), "--out", str(tmp_path / "out"), *ALL_IN_TRAIN]) == 0
    photos = list(read_mask_folder(tmp_path / "out" / "train", pytest.fail))
    stained = [photo for photo in photos if photo.mask.any()]
    assert len(photos) > len(stained) >= 1
    assert all(np.array_equal(photo.mask, polygon_mask()) for photo in stained)
    assert {chemistry_of(photo.name) for photo in stained} == {"tannin"}
    files = {row["file"] for row in rows(tmp_path / "out" / "splits.csv") if row["file"]}
    assert {photo.name for photo in photos} <= files
    assert record(tmp_path / "out")["may_ship"] is True
    assert why_not_shipped(tmp_path / "out" / "train") is None


def test_boxes_go_to_a_folder_of_their_own(tmp_path: Path) -> None:
    labelled.coco(tmp_path / "set")
    assert prepare.main([str(tmp_path / "set"), "--out", str(tmp_path / "out"), *ALL_IN_TRAIN]) == 0
    (photo,) = read_box_folder(tmp_path / "out" / "train-boxes", pytest.fail)
    assert photo.boxes_px.tolist() == [[50, 20, 70, 44]]
    assert photo.classes == ("coffee",)


def test_scenes_carry_area_source_and_scale(tmp_path: Path) -> None:
    labelled.labelme(tmp_path / "set")
    call = [str(tmp_path / "set"), "--out", str(tmp_path / "out"), "--as", "scenes", *ALL_IN_TRAIN]
    assert prepare.main(call) == 0
    (name,) = scene.names(tmp_path / "out" / "train")
    made = scene.load(tmp_path / "out" / "train", name)
    assert made.image.shape == (1040, 1040, 3)
    assert {stain.source for stain in made.stains} == {"coffee", "ink"}
    coffee = made.source == 1 + list(scene_sources()).index("coffee")
    assert made.coverage[coffee].sum() == pytest.approx(polygon_mask().sum() * 0.25**2, rel=0.05)
    assert made.ignore[5:11, 13:17].all()  # the box: somewhere in it is blood
    assert made.ignore[20:, :].all()  # beyond the picture of 20 x 15 mm
    assert not made.ignore[1, 1]
    assert (made.image[100:, 200:] > 250).all()
    assert made.meta["mm_per_px"] == pytest.approx(0.25)


def scene_sources() -> list[str]:
    from model.taxonomy import SOURCE_NAMES

    return list(SOURCE_NAMES)


def test_scenes_need_a_scale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labelled.masks(tmp_path / "set")
    call = [str(tmp_path / "set"), "--out", str(tmp_path / "out"), "--as", "scenes"]
    assert prepare.main(call) == 1
    assert "--mm-per-px, --marker-mm, pictures.csv" in capsys.readouterr().err
    assert prepare.main([*call, "--mm-per-px", "9"]) == 2
    assert prepare.main([*call, "--mm-per-px", "0.5"]) == 0


def test_a_large_picture_becomes_several_scenes_that_cover_it(tmp_path: Path) -> None:
    (tmp_path / "set" / "images").mkdir(parents=True)
    (tmp_path / "set" / "masks").mkdir()
    cloth = np.random.default_rng(0).integers(60, 200, (300, 500, 3)).astype(np.uint8)
    mask = np.zeros((300, 500), np.uint8)
    mask[10:20, 480:490] = 255
    cv2.imwrite(str(tmp_path / "set/images/blood_1.png"), cloth)
    cv2.imwrite(str(tmp_path / "set/masks/blood_1.png"), mask)
    call = [str(tmp_path / "set"), "--out", str(tmp_path / "out"), "--as", "scenes", "--mm-per-px", "1"]
    assert prepare.main([*call, *ALL_IN_TRAIN]) == 0
    made = [scene.load(tmp_path / "out/train", name) for name in scene.names(tmp_path / "out/train")]
    assert len(made) == 4
    assert sum(bool(s.stains) for s in made) == 1
    assert max(float(s.coverage.sum()) for s in made) == pytest.approx(100, abs=0.1)


def test_garments_and_senders_of_the_table_are_kept_together(tmp_path: Path) -> None:
    for seed in range(12):
        labelled.picture(tmp_path / "set" / "images" / f"p{seed:02d}.png", seed)
        (tmp_path / "set" / "masks").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "set" / "masks" / f"p{seed:02d}.png"), polygon_mask().astype(np.uint8))
    lines = [f"images/p{i:02d}.png,coat{i // 3},," for i in range(12)]
    (tmp_path / "set" / "pictures.csv").write_text("picture,garment,sender,mm_per_px\n" + "\n".join(lines))
    assert prepare.main([str(tmp_path / "set"), "--out", str(tmp_path / "out"), "--shares", "2", "1", "1"]) == 0
    where: dict[str, set[str]] = {}
    for row in rows(tmp_path / "out" / "splits.csv"):
        where.setdefault(row["garment"], set()).add(row["split"])
    assert len(where) == 4
    assert all(len(places) == 1 for places in where.values())
    assert len(set().union(*where.values())) > 1
    again = [str(tmp_path / "set"), "--out", str(tmp_path / "more"), "--keep", str(tmp_path / "out" / "splits.csv")]
    assert prepare.main(again) == 0
    old, new = ({r["picture"]: r["split"] for r in rows(tmp_path / d / "splits.csv")} for d in ("out", "more"))
    assert old == new


def test_garments_may_be_read_from_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labelled.mvtec(tmp_path / "set")
    call = [str(tmp_path / "set"), "--public", "mvtec_ad", "--research-only", "--out", str(tmp_path / "out")]
    assert prepare.main([*call, "--garment-from", "(carpet)/test"]) == 0
    assert sorted(row["garment"] for row in rows(tmp_path / "out" / "splits.csv")) == ["", "carpet", "carpet", "carpet"]
    for wrong, says in (("carpet", "one group"), ("(", "no regular expression")):
        assert prepare.main([*call[:-1], str(tmp_path / "two"), "--garment-from", wrong]) == 2
        assert says in capsys.readouterr().err


def test_a_class_that_nobody_explains_is_left_out_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labelled.mvtec(tmp_path / "set")
    call = [str(tmp_path / "set"), "--out", str(tmp_path / "out"), *ALL_IN_TRAIN]
    assert prepare.main(call) == 0
    told = capsys.readouterr().err
    assert "class 'hole' is not known" in told
    assert "2 left out" in told
    (tmp_path / "classes.toml").write_text('[classes]\nhole = "ignore"\ncolor = "ink"\n')
    more = [str(tmp_path / "set"), "--out", str(tmp_path / "two"), "--classes", str(tmp_path / "classes.toml")]
    assert prepare.main([*more, *ALL_IN_TRAIN, "--as", "scenes", "--mm-per-px", "0.25"]) == 0
    made = [scene.load(tmp_path / "two/train", name) for name in scene.names(tmp_path / "two/train")]
    assert sorted(len(s.stains) for s in made) == [0, 0, 0, 1]
    assert sum(bool(s.ignore[5, 5]) for s in made) == 1


@pytest.mark.parametrize("text", ["", "[classes]\nhole = 'nonsense'\n", "classes = 3\n", "[["])
def test_a_table_of_classes_that_says_nothing_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(ValueError, match=r"classes|unknown"):
        Meanings.from_file(tmp_path / "c.toml")


def test_a_non_commercial_set_is_refused_unless_marked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labelled.mvtec(tmp_path / "set")
    call = [str(tmp_path / "set"), "--public", "mvtec_ad", "--out", str(tmp_path / "out"), *ALL_IN_TRAIN]
    assert prepare.main(call) == 2
    assert "CC BY-NC-SA 4.0" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert prepare.main([*call, "--research-only"]) == 0
    assert record(tmp_path / "out")["may_ship"] is False
    assert record(tmp_path / "out")["verified"] is False
    assert "may not be shipped" in str(why_not_shipped(tmp_path / "out" / "train"))


def test_a_scene_of_a_non_commercial_set_is_found_among_others(tmp_path: Path) -> None:
    labelled.masks(tmp_path / "set")
    call = [str(tmp_path / "set"), "--as", "scenes", "--mm-per-px", "0.25", *ALL_IN_TRAIN]
    assert prepare.main([*call, "--out", str(tmp_path / "mine")]) == 0
    assert prepare.main([*call, "--out", str(tmp_path / "theirs"), "--research-only"]) == 0
    target = tmp_path / "mixed"
    target.mkdir()
    for folder in ("mine", "theirs"):
        for path in (tmp_path / folder / "train").iterdir():
            (target / f"{folder}-{path.name}").write_bytes(path.read_bytes())
    assert "theirs" in str(why_not_shipped(target))
    for path in target.glob("theirs-*"):
        path.unlink()
    assert why_not_shipped(target) is None


def test_the_table_of_public_sets_is_whole_and_marks_what_was_not_seen() -> None:
    sets = public.public_sets()
    wanted = {"clothing", "fabric_stain", "aitex", "zju_leaper", "tilda", "artf_clothes", "wargon", "mvtec_ad"}
    assert wanted <= set(sets)
    assert all(s.licence and s.where and s.note for s in sets.values())
    assert all(s.checked and s.may_ship for s in sets.values() if s.trained)
    assert not any(s.may_ship for s in sets.values() if not s.checked)
    assert all(Meanings(s.classes) for s in sets.values())
    for given in sets.values():
        assert f"| `{given.name}` | {given.title} | {given.licence} |" in public.listing()


def test_a_public_set_that_lies_otherwise_is_refused_with_its_origin(tmp_path: Path) -> None:
    with pytest.raises(ReaderError, match=r"train/\*\.jpg; it comes from github"):
        public.check_layout(public.public_sets()["clothing"], tmp_path)
    with pytest.raises(ReaderError, match=public.UNVERIFIED):
        public.check_layout(public.public_sets()["tilda"], tmp_path)
    with pytest.raises(ReaderError, match="no place of stains"):
        public.check_layout(public.public_sets()["wargon"], tmp_path)


def test_senders_of_a_public_set_stay_together(tmp_path: Path) -> None:
    for seed in range(6):
        labelled.picture(tmp_path / "set" / "train" / f"p{seed}.jpg", seed)
    labelled.picture(tmp_path / "set" / "val" / "q.jpg", 9)
    lines = [f"train,p{i},{i % 2},,\n" for i in range(6)]
    (tmp_path / "set" / "images.csv").write_text("split,image,sender_id,label,kids\n" + "".join(lines))
    assert prepare.main([str(tmp_path / "set"), "--public", "clothing", "--out", str(tmp_path / "out")]) == 0
    made = rows(tmp_path / "out" / "splits.csv")
    assert len(made) == 7
    assert len({row["group"] for row in made}) == 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "--out"),
        (["{set}", "--out", "{set}"], "not empty"),
        (["{set}", "--out", "{new}", "--public", "nobody"], "--list"),
        (["{set}", "--out", "{new}", "--pictures", "{set}/classes.txt"], "column `picture`"),
        (["{set}/nowhere", "--out", "{new}"], "no such folder"),
    ],
)
def test_a_wrong_call_is_told(
    arguments: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled.yolo(tmp_path / "set")
    filled = [a.format(set=tmp_path / "set", new=tmp_path / "new") for a in arguments]
    assert prepare.main(filled) == 2
    assert says in capsys.readouterr().err


def test_the_list_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare.main(["--list"]) == 0
    assert "| `mvtec_ad` |" in capsys.readouterr().out


@pytest.mark.parametrize("as_", ["photos", "scenes"])
def test_evaluate_scores_what_was_prepared(as_: str, tmp_path: Path) -> None:
    labelled.masks(tmp_path / "set")
    call = [str(tmp_path / "set"), "--out", str(tmp_path / "out"), "--as", as_, "--mm-per-px", "0.25", *ALL_IN_TRAIN]
    assert prepare.main(call) == 0
    scale = ["--mm-per-px", "0.25"] if as_ == "photos" else []
    out = ["--out", str(tmp_path / "results")]
    assert evaluate.main(["--set", str(tmp_path / "out" / "train"), "--classical", *scale, *out]) == 0
    metrics = json.loads((tmp_path / "results" / "metrics.json").read_text())
    assert metrics["photos" if as_ == "photos" else "pictures"] == 2
    found = metrics["components"]["of"] if as_ == "photos" else metrics["stains"]["all"]["n"]
    assert found == 1


def test_area_shares_are_exact() -> None:
    mask = np.zeros((6, 6), np.bool_)
    mask[:3, :3] = True
    assert np.allclose(share_per_mm2(mask, (4, 4)), np.outer([1, 1, 0, 0], [1, 1, 0, 0]))
    assert np.allclose(share_per_mm2(mask, (2, 2)), [[1, 0], [0, 0]])
    assert share_per_mm2(mask, (5, 5)).sum() * (6 / 5) ** 2 == pytest.approx(9)
    assert share_per_mm2(mask, (12, 12)).sum() == pytest.approx(36)
