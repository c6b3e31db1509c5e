"""Absorbances fitted to patches with known truth, and the file that carries them into the renderer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datasets import Recipe, absorbance, render_scene
from datasets.absorbance import Fit, Patch, colour_of, fit, load_optics, main, predicted
from datasets.colour import exact_lab, from_lab, to_srgb
from datasets.pictures import Pool
from datasets.stains import OPTICS, Optics
from datasets.studio import rgb_of

CLOTHS = ("#efefea", "#a9c3dd", "#b0282c", "#26262a")
AMOUNTS = (0.25, 0.5, 1.0, 2.0)


def patches(source: str, truth: Optics, cloths: tuple[str, ...] = CLOTHS, noise: float = 0.0) -> list[Patch]:
    """What an instrument of `noise` (CIELab) reads where the renderer's own model holds."""
    bare = [Patch(source, amount, rgb_of(cloth), rgb_of(cloth)) for cloth in cloths for amount in AMOUNTS]
    lab = exact_lab(predicted(bare, truth))
    seen = from_lab(lab + np.random.default_rng(0).normal(0, noise, lab.shape))
    return [replace(one, stained=colour) for one, colour in zip(bare, seen, strict=True)]


def test_absorbances_of_a_liquid_are_found_again() -> None:
    truth = replace(OPTICS["coffee"], absorbance=(0.21, 0.47, 0.81))
    found = fit(patches("coffee", truth), OPTICS["coffee"])
    assert found.optics.absorbance == pytest.approx((0.21, 0.47, 0.81), abs=0.005)
    assert found.fitted == ("absorbance",)
    assert (found.patches, found.cloths) == (16, 4)
    assert found.after.max() < 0.1
    assert found.before.mean() > 2


def test_a_wet_paste_is_found_again_on_several_cloths() -> None:
    truth = replace(OPTICS["egg"], absorbance=(0.05, 0.2, 0.4), paste=(0.7, 0.5, 0.3), hiding=0.8, wet=0.3)
    found = fit(patches("egg", truth), OPTICS["egg"]).optics
    assert found.absorbance == pytest.approx(truth.absorbance, abs=0.03)
    assert found.paste == pytest.approx(truth.paste, abs=0.03)
    assert (found.hiding, found.wet) == pytest.approx((0.8, 0.3), abs=0.05)


def test_on_one_cloth_what_cannot_be_told_apart_stays_as_it_was() -> None:
    found = fit(patches("egg", OPTICS["egg"], CLOTHS[:1]), OPTICS["egg"])
    assert found.fitted == ("absorbance",)
    assert found.cloths == 1
    assert (found.optics.paste, found.optics.wet) == (OPTICS["egg"].paste, OPTICS["egg"].wet)


def test_noise_of_the_instrument_shows_in_what_is_left() -> None:
    truth = replace(OPTICS["tea"], absorbance=(0.1, 0.3, 0.9))
    found = fit(patches("tea", truth, noise=1.0), OPTICS["tea"])
    assert found.optics.absorbance == pytest.approx(truth.absorbance, abs=0.1)
    assert 0.3 < found.after.mean() < 2.5


def hexed(linear: np.ndarray) -> str:
    return "#" + bytes(np.rint(to_srgb(linear.astype(np.float32))).astype(np.uint8).tolist()).hex()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Coffee in hex at amounts of µL/cm² (20 = full), one line in CIELab, three lines that cannot be used."""
    truth = replace(OPTICS["coffee"], absorbance=(0.2, 0.5, 0.8))
    lines = ["source,amount,clean,stained"]
    measured = patches("coffee", truth)
    lines += [f"coffee,{20 * one.amount},{hexed(one.clean)},{hexed(one.stained)}" for one in measured]
    lab = exact_lab(predicted([Patch("coffee", 1.0, rgb_of("#efefea"), rgb_of("#efefea"))], truth))[0]
    lines.append(f"coffee,20,#efefea,{' '.join(f'{v:.2f}' for v in lab)}")
    lines += ["cola,1,#ffffff,#000000", "tea,much,#ffffff,#000000", "tea,1,white,#000000"]
    path = tmp_path / "patches.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_command_tells_bad_lines_fits_the_rest_and_the_renderer_uses_it(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "optics.toml"
    assert main([str(table), "--full", "20", "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert [word in said.err for word in ("line 19: source 'cola'", "line 20: amount", "line 21: colour")] == [True] * 3
    assert "| coffee | 17 | 4 |" in said.out
    optics = load_optics(out)
    assert optics["coffee"].absorbance == pytest.approx((0.2, 0.5, 0.8), abs=0.02)
    assert optics["coffee"].alternatives == OPTICS["coffee"].alternatives
    assert optics["blood"] == OPTICS["blood"]
    recipe = Recipe(size_mm=20, pictures={}, clean_share=0.0)
    pool = Pool(None, "train")
    assert "optics" not in render_scene(recipe, pool, 1).meta
    assert render_scene(recipe, pool, 1, optics).meta["optics"].keys() == {"coffee"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no schema"),
        ('schema = "spotgrid.optics/v1"\n[cola]\n', "cola"),
        ('schema = "spotgrid.optics/v1"\n[tea]\nabsorbance = 1\n', "three numbers"),
        ('schema = "spotgrid.optics/v1"\n[tea]\nwet = -1\n', "0 or more"),
        ('schema = "spotgrid.optics/v1"\n[tea]\nsmell = 1\n', "smell"),
        ("[[", "datasets.absorbance"),
    ],
)
def test_a_file_that_says_no_optics_is_refused(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "o.toml").write_text(text)
    with pytest.raises(ValueError, match=says):
        load_optics(tmp_path / "o.toml")


@pytest.mark.parametrize(
    ("text", "arguments", "code", "says"),
    [
        ("source,amount\n", [], 1, "no column clean, stained"),
        ("source,amount,clean,stained\n", [], 1, "no patch could be used"),
        ("source,amount,clean,stained\ntea,0,#ffffff,#ffffff\n", [], 1, "out of range"),
        ("source,amount,clean,stained\ntea,1,200 0 0,#ffffff\n", [], 1, "L is 0 to 100"),
        ("", ["--full", "0"], 2, "above 0"),
    ],
)
def test_a_wrong_call_is_told(
    text: str, arguments: list[str], code: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.csv").write_text(text)
    assert main([str(tmp_path / "p.csv"), *arguments]) == code
    assert says in capsys.readouterr().err


def test_both_ways_to_write_a_colour_are_one() -> None:
    lab = exact_lab(rgb_of("#a9825c"))
    assert colour_of(" ".join(f"{v:.3f}" for v in lab)) == pytest.approx(colour_of("#a9825c"), abs=1e-3)


def test_what_is_written_says_how_well_it_fits() -> None:
    one = Fit(OPTICS["tea"], 3, 1, np.ones(3, np.float32), np.full(3, 0.5, np.float32), ("absorbance",))
    text = absorbance.document({"tea": one})
    assert "[tea]\nabsorbance = [0.16, 0.34, 0.72]\n# 3 patches on 1 cloths; CIEDE2000 mean 0.5, worst 0.5" in text
