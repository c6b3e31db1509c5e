"""The front door in this process: what is listed, what is opened, what a wrong call is told."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import spotgrid
from hardware.plan import SCHEMA as PLAN
from inference_service.ledger.events import SCHEMA as TREATMENT
from model.command import output_names
from model.grid import StainMap
from model.picture import read_picture
from model.schema import SCHEMAS
from savings.schema import SCHEMAS as SAVINGS
from tests.model.toy_onnx import write_toy

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """`call("detect", ...)` -> exit code, stdout, stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        code = spotgrid.main([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy(tmp_path_factory.mktemp("toy") / "toy.onnx")


@pytest.fixture
def coat(tmp_path: Path) -> Path:
    """A light cloth of 100 x 60 mm at 0.5 mm per px with one dark spot in cell (2, 3)."""
    image = np.full((120, 200, 3), 230, dtype=np.uint8)
    image[44:54, 64:74] = (80, 5, 5)
    path = tmp_path / "coat.png"
    Image.fromarray(image).save(path)
    return path


def test_help_lists_the_commands_that_are_there(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = call("--help")
    assert code == 0
    assert "{detect,demo," in out
    assert "example:" in out
    monkeypatch.setitem(spotgrid.COMMANDS, "fly", spotgrid.Command("aviary.command", "take off", "spotgrid fly"))
    monkeypatch.setitem(spotgrid.COMMANDS, "swim", spotgrid.Command("model.fins", "dive", "spotgrid swim"))
    code, out, _ = call("--help")
    assert "fly" not in out
    assert "swim" not in out
    assert call("fly")[0] == 2


@pytest.mark.parametrize("name", [name for name, command in spotgrid.COMMANDS.items() if command.present])
def test_each_command_explains_itself_with_an_example(call: Call, name: str) -> None:
    code, out, err = call(name, "--help")
    assert (code, err) == (0, "")
    assert f"example: spotgrid {name}" in out


def test_only_the_called_commands_room_is_opened(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "model.command")
    assert call("schema", "stainmap")[0] == 0
    assert "model.command" not in sys.modules


def test_the_version_is_the_distributions(call: Call, repo_root: Path) -> None:
    code, out, _ = call("--version")
    assert code == 0
    assert f'version = "{out.split()[1]}"' in (repo_root / "pyproject.toml").read_text()


@pytest.mark.parametrize("words", [(), ("detec",), ("--fly",), ("detect",), ("schema",)])
def test_a_wrong_call_exits_2_and_says_how_to_call(call: Call, words: tuple[str, ...]) -> None:
    code, out, err = call(*words)
    assert (code, out) == (2, "")
    assert "usage: spotgrid" in err


@pytest.mark.parametrize("name", [*SCHEMAS, PLAN, TREATMENT, *SAVINGS])
def test_each_schema_is_printed(call: Call, name: str) -> None:
    code, out, _ = call("schema", name)
    assert code == 0
    assert json.loads(out)["properties"]["schema"]["const"] == name


def test_an_unknown_schema_exits_2_and_lists_the_known(call: Call) -> None:
    code, out, err = call("schema", "laundry")
    assert (code, out) == (2, "")
    assert all(name in err for name in SCHEMAS)


def test_a_map_goes_to_stdout_and_nothing_else(call: Call, coat: Path, toy: Path) -> None:
    code, out, err = call("detect", coat, "--mm-per-px", 0.5, "--model", toy)
    assert (code, err) == (0, "")
    assert out.count("\n") == 1
    found = StainMap.from_json(json.loads(out))
    assert (found.source, found.image_px, found.mm_per_px) == ("coat.png", (200, 120), 0.5)
    assert list(zip(found.row, found.col, strict=True)) == [(2, 3)]


def test_the_width_gives_the_scale(call: Call, coat: Path, toy: Path) -> None:
    by_width = json.loads(call("detect", coat, "--width-mm", 100, "--model", toy)[1])
    assert by_width["mm_per_px"] == 0.5
    assert [(cell["row"], cell["col"]) for cell in by_width["cells"]] == [(2, 3)]


def test_with_out_three_files_are_written(call: Call, coat: Path, toy: Path, tmp_path: Path) -> None:
    out_dir = tmp_path / "new" / "out"
    code, out, err = call("detect", coat, "--mm-per-px", 0.5, "--model", toy, "--out", out_dir)
    assert (code, out, err) == (0, "", "")
    assert {path.name for path in out_dir.iterdir()} == {"coat.stainmap.json", "coat.overlay.png", "coat.mask.png"}
    with Image.open(out_dir / "coat.mask.png") as file:
        assert (file.mode, file.size) == ("L", (200, 120))
        mask = np.asarray(file)
    found = StainMap.from_json(json.loads((out_dir / "coat.stainmap.json").read_text()))
    assert (mask == 255).sum() == 4 * found.stained_area_mm2
    assert read_picture(out_dir / "coat.overlay.png").shape[1] == 1600


def test_the_mask_has_the_size_of_the_upright_picture(call: Call, coat: Path, toy: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = tmp_path / "turned.png"
    Image.fromarray(np.rot90(read_picture(coat)).copy()).save(turned, exif=exif)  # stored on its side
    assert call("detect", turned, coat, "--mm-per-px", 0.5, "--model", toy, "--out", tmp_path)[0] == 0
    turned_mask, mask = (read_picture(tmp_path / f"{name}.mask.png") for name in ("turned", "coat"))
    np.testing.assert_array_equal(turned_mask, mask)


def test_thresholds_and_presets_reach_the_detector(call: Call, coat: Path, toy: Path) -> None:
    scale = ("--mm-per-px", 0.5, "--model", toy)
    assert json.loads(call("detect", coat, *scale, "--threshold", 0.25)[1])["threshold"] == 0.25
    thrifty = json.loads(call("detect", coat, *scale, "--preset", "thrifty")[1])
    assert (thrifty["threshold"], thrifty["preset"]) == (0.9, "thrifty")


def test_two_inputs_of_one_stem_get_distinct_names(call: Call, coat: Path, toy: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "coat.png").write_bytes(coat.read_bytes())
    code, _, err = call("detect", coat, other / "coat.png", "--mm-per-px", 0.5, "--model", toy, "--out", tmp_path / "o")
    assert code == 0
    assert err == f"spotgrid detect: {other / 'coat.png'} is written as coat-2: another input has the same name\n"
    assert len(list((tmp_path / "o").iterdir())) == 6


@pytest.mark.parametrize(
    ("pictures", "names"),
    [
        (["a.jpg", "b.jpg"], ["a", "b"]),
        (["a.jpg", "x/a.png", "y/a.jpg"], ["a", "a-2", "a-3"]),
        (["a.jpg", "x/a.jpg", "a-2.jpg"], ["a", "a-3", "a-2"]),
        (["a.jpg", "A.jpg"], ["a", "A-2"]),
        (["-", "stdin.png"], ["stdin", "stdin-2"]),
        (["x/a-2.jpg", "a.jpg", "y/a.jpg", "y/a-2.jpg"], ["a-2", "a", "a-3", "a-2-2"]),
    ],
)
def test_names_of_outputs_never_collide(pictures: list[str], names: list[str]) -> None:
    assert output_names(pictures) == names


def test_bad_pictures_are_named_and_the_others_done(call: Call, coat: Path, toy: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.jpg").write_text("dear customer")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "cut.png").write_bytes(coat.read_bytes()[:-200])
    bad = [tmp_path / name for name in ("letter.jpg", "empty.jpg", "cut.png", "missing.jpg")]
    code, out, err = call("detect", *bad, coat, tmp_path, "--mm-per-px", 0.5, "--model", toy)
    assert code == 1
    assert [json.loads(line)["source"] for line in out.splitlines()] == ["coat.png"]
    lines = err.splitlines()
    assert len(lines) == 5
    for line, path, reason in zip(
        lines, [*bad, tmp_path], ("not a picture", "empty", "", "no such file", "a folder"), strict=True
    ):
        assert line.startswith(f"spotgrid detect: {path}: ")
        assert reason in line


def test_a_canvas_over_the_limit_makes_the_call_wrong_and_the_others_are_done(
    call: Call, coat: Path, toy: Path, tmp_path: Path
) -> None:
    Image.new("L", (900, 900)).save(tmp_path / "field.png")
    code, out, err = call("detect", tmp_path / "field.png", coat, "--mm-per-px", 4, "--model", toy)
    assert code == 2
    assert "at most 10 m²" in err
    assert err.count("\n") == 1
    assert len(out.splitlines()) == 1


def test_standard_input_can_be_named_once(call: Call, toy: Path) -> None:
    code, _, err = call("detect", "-", "-", "--mm-per-px", 1, "--model", toy)
    assert code == 2
    assert "standard input can be read once" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "one of the arguments --mm-per-px --width-mm --calibration is required"),
        (("--mm-per-px", "0.019"), "must be 0.02 to 5 mm"),
        (("--mm-per-px", "5.1"), "must be 0.02 to 5 mm"),
        (("--mm-per-px", "nan"), "must be 0.02 to 5 mm"),
        (("--mm-per-px", "wide"), "'wide' must be 0.02 to 5 mm"),
        (("--width-mm", "0"), "must be above 0 mm"),
        (("--mm-per-px", "1", "--width-mm", "90"), "not allowed with argument"),
        (("--mm-per-px", "1", "--threshold", "2"), "must be a confidence of 0 to 1"),
        (("--mm-per-px", "1", "--threshold", ".5", "--preset", "default"), "not allowed with argument"),
        (("--mm-per-px", "1", "--preset", "cheap"), "this model has default, thorough, thrifty"),
        (("--calibration", "nowhere.json"), "calibrat"),
        (("--mm-per-px", "1", "--model", "nowhere.onnx"), "check the path"),
        (("--mm-per-px", "1", "--out", "{coat}"), "is a file; name a folder"),
        (("--width-mm", "0.5"), "allowed 0.02 to 5"),
    ],
)
def test_wrong_calls_of_detect_exit_2_and_teach(
    call: Call, coat: Path, toy: Path, words: tuple[str, ...], said: str
) -> None:
    code, out, err = call("detect", coat, "--model", toy, *(word.format(coat=coat) for word in words))
    assert (code, out) == (2, "")
    assert said in err


def test_a_calibration_file_is_used_and_its_size_checked(call: Call, coat: Path, toy: Path, tmp_path: Path) -> None:
    from model.calibration import Calibration, Lens

    for name, width in (("good", 200), ("other", 201)):
        Calibration(
            id="table-1",
            date="2026-11-22T00:00:00Z",
            image_px=(width, 120),
            lens=Lens(np.array([[300.0, 0, 100], [0, 300, 60], [0, 0, 1]]), np.zeros(5)),
            px_to_mm=np.array([[0.5, 0, 20], [0, 0.5, 30], [0, 0, 1.0]]),
            area_mm=(20.0, 30.0, 100.0, 60.0),
        ).save(tmp_path / f"{name}.json")
    options = ("--model", toy, "--out", tmp_path / "o", "--calibration")
    assert call("detect", coat, *options, tmp_path / "good.json")[0] == 0
    written = json.loads((tmp_path / "o" / "coat.stainmap.json").read_text())
    assert written["calibration"] == "table-1@2026-11-22T00:00:00Z"
    assert written["grid"]["origin_mm"] == [20.0, 30.0]
    code, _, err = call("detect", coat, *options, tmp_path / "other.json")
    assert code == 1
    assert err.startswith(f"spotgrid detect: {coat}: picture is 200 x 120 px")


def test_the_doctor_measures_a_tile(call: Call, toy: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPOTGRID_DATA", str(tmp_path / "gone"))
    code, out, _ = call("doctor", "--model", toy)
    assert code == 0
    assert "model        toy 0.0.1" in out
    assert "one tile     64 x 64 px in " in out
    assert "CPUExecutionProvider" in out
    assert "NO SUCH FOLDER" in out


def test_the_doctor_finds_a_missing_model(call: Call, tmp_path: Path) -> None:
    code, out, _ = call("doctor", "--model", tmp_path / "nowhere.onnx")
    assert code == 1
    assert "MISSING" in out


def test_progress_is_for_terminals_only(call: Call, coat: Path, toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("detect", coat, coat, "--mm-per-px", 0.5, "--model", toy)
    assert call(*words)[2] == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    code, out, err = call(*words)
    assert (code, len(out.splitlines())) == (0, 2)
    assert f"[2/2] {coat} 100%" in err
    assert "coat.png: 1 stained cells" in err
