from __future__ import annotations

import copy
import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

from model.detector import Detector
from model.network import CONTEXT, SpotNet, look_at
from model.onnx_file import OnnxFile
from tests.training.conftest import CALIBRATION
from training import export as exporting
from training.checkpoint import check_lessons, forbidden, load_network
from training.checkpoint import main as checkpoint_main
from training.export import ExportError, Parity, Served, find_checkpoint, golden_pictures, main, parity
from training.operating import Calibration


def test_the_file_says_what_the_product_needs(tiny_onnx: Path) -> None:
    info = OnnxFile(tiny_onnx, threads=1).info
    assert (info.name, info.version) == ("tiny", "0.0.1")
    assert info.levels == (4, 2, 1)
    assert dict(info.presets) == dict(CALIBRATION.presets)
    assert info.threshold == 0.6
    assert info.cell_head == CALIBRATION.cell_head
    assert info.channels == CONTEXT


@pytest.mark.parametrize("shape", [(1, 32, 32), (1, 256, 256), (3, 96, 64), (8, 64, 160)])
def test_any_batch_and_size_runs_and_agrees(tiny_run: Path, tiny_onnx: Path, shape: tuple[int, int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    proved = parity(load_network(tiny_run / "last.pt"), CALIBRATION, OnnxFile(tiny_onnx, threads=1), [image])
    assert proved.positions == 2 * image.size // 48  # of the finest level's look, and of the others'
    proved.check()


def test_shift_and_temperature_are_inside(tiny_run: Path, tiny_onnx: Path) -> None:
    image, context = np.full((1, 32, 32, 3), 99, np.uint8), np.zeros((1, CONTEXT, 4, 4), np.float32)
    stain, chemistry = OnnxFile(tiny_onnx, threads=1).run(("stain", "chemistry"), image, context)
    with torch.no_grad():
        pixels = torch.full((1, 3, 32, 32), 99 / 255)
        raw = look_at(load_network(tiny_run / "last.pt"), finest=True)(pixels, torch.from_numpy(context))
    assert stain == pytest.approx(raw[0][:, 0].numpy() + 0.5, abs=1e-4)
    assert chemistry == pytest.approx(raw[1].numpy() / 2.0, abs=1e-4)


def test_coarser_levels_are_looked_at_with_the_whole_encoder_and_without_chemistry(
    tiny_run: Path, tiny_onnx: Path
) -> None:
    file, network = OnnxFile(tiny_onnx, threads=1), load_network(tiny_run / "last.pt")
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1, 64, 96, 3), dtype=np.uint8)
    context = rng.normal(size=(1, CONTEXT, 8, 12)).astype(np.float32)
    pixels = torch.from_numpy(image).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        coarser, finest = (look_at(network, which)(pixels, torch.from_numpy(context))[2] for which in (False, True))
    assert not torch.allclose(coarser, finest, atol=1e-3)
    np.testing.assert_allclose(file.run(("features",), image, context)[0], coarser.numpy(), atol=1e-4)
    np.testing.assert_allclose(file.run(("features", "chemistry"), image, context)[0], finest.numpy(), atol=1e-4)
    assert "chemistry" not in {node.name for node in file._glance.get_outputs()}


def test_the_closest_look_hangs_on_nothing_beyond_stride_8() -> None:
    torch.manual_seed(3)
    network = SpotNet().eval()
    image, context = torch.rand(1, 3, 64, 64), torch.randn(1, CONTEXT, 8, 8)
    with torch.no_grad():
        before = network.close_look(image, context), network(image, context)
        for layer in (*network.wide, network.from16, network.context16):
            for weight in layer.parameters():
                weight.mul_(2)
        after = network.close_look(image, context), network(image, context)
    assert all(torch.equal(one, other) for one, other in zip(before[0], after[0], strict=True))
    assert not torch.equal(before[1][0], after[1][0])


@pytest.mark.slow
def test_a_network_beside_itself_says_what_it_says_alone(tiny_run: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    """Through the product's pyramid, where each of the two hears its own coarser look."""
    call = [str(tiny_run / "last.pt"), str(tmp_path / "run" / "last.pt"), "--beside", str(tiny_run / "last.pt")]
    assert checkpoint_main(call) == 0
    exporting.export(tmp_path / "run" / "last.pt", tmp_path / "both.onnx", CALIBRATION, "both", "0.0.1")
    assert OnnxFile(tmp_path / "both.onnx", threads=1).info.channels == 2 * CONTEXT
    canvas = golden_pictures()[0][0]
    both, alone = (Detector(path, threads=1).logits(canvas)[0] for path in (tmp_path / "both.onnx", tiny_onnx))
    np.testing.assert_allclose(both, alone, atol=1e-3)


def test_constant_padding_is_what_the_encoder_does() -> None:
    torch.manual_seed(1)
    network = SpotNet().eval()
    served = Served(network, finest=False)
    image = torch.randint(0, 256, (2, 64, 96, 3), dtype=torch.uint8)
    context = torch.randn(2, CONTEXT, 8, 12)
    with torch.no_grad():
        theirs = network(image.permute(0, 3, 1, 2).float() / 255, context)
        ours = served(image, context)
    assert torch.equal(ours[0], theirs[0][:, 0])
    assert torch.equal(ours[2], theirs[2])


def test_a_network_that_differs_is_found_out(tiny_run: Path, tiny_onnx: Path) -> None:
    other = copy.deepcopy(load_network(tiny_run / "last.pt"))
    assert isinstance(other, SpotNet)
    with torch.no_grad():
        other.trust.add_(0.01)
        other.stain.weight.mul_(1.01)
    proved = parity(other, CALIBRATION, OnnxFile(tiny_onnx, threads=1), golden_pictures()[:1])
    assert proved.stain > 1e-4
    with pytest.raises(ExportError, match="differ"):
        proved.check()


@pytest.mark.parametrize("proved", [Parity(1, 1, 1e-4, 0, 0), Parity(1, 1, 0, 1e-4, 0), Parity(1, 1, 0, 0, 1)])
def test_each_kind_of_difference_is_refused(proved: Parity) -> None:
    with pytest.raises(ExportError):
        proved.check()


def test_nothing_is_written_without_parity(
    tiny_run: Path, tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # The exporter gives the graph of another calibration: it shifts what torch says.
    monkeypatch.setattr(exporting, "to_onnx", lambda served, path: path.write_bytes(tiny_onnx.read_bytes()))
    assert main([str(tiny_run), "--out", str(tmp_path / "x.onnx")]) == 1
    assert list(tmp_path.iterdir()) == []
    assert "differ" in capsys.readouterr().err


def test_a_large_file_is_refused(
    tiny_run: Path, tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "MAX_BYTES", 1000)
    monkeypatch.setattr(exporting, "to_onnx", lambda served, path: path.write_bytes(tiny_onnx.read_bytes()))
    with pytest.raises(ExportError, match="at most"):
        exporting.export(tiny_run / "last.pt", tmp_path / "x.onnx", Calibration())
    assert list(tmp_path.iterdir()) == []


def test_golden_pictures_are_the_same_everywhere() -> None:
    ours, again = golden_pictures(), golden_pictures()
    assert all(np.array_equal(a, b) for a, b in zip(ours, again, strict=True))
    assert {picture.shape for picture in ours} == {(n, h, w, 3) for n, h, w in exporting._GOLDEN_SIZES}


def test_no_folder_of_this_machine_is_shipped(tiny_run: Path, tiny_onnx: Path) -> None:
    assert exporting.describe(tiny_run / "last.pt")["config"]["scenes"] == "train"
    assert b"/somewhere" not in tiny_onnx.read_bytes()


def test_the_checkpoint_of_a_run_is_found(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"training\.train"):
        find_checkpoint(tmp_path)
    (tmp_path / "last.pt").touch()
    assert find_checkpoint(tmp_path).name == "last.pt"
    (tmp_path / "best.pt").touch()
    assert find_checkpoint(tmp_path).name == "best.pt"
    assert find_checkpoint(tmp_path / "last.pt").name == "last.pt"


def test_a_missing_run_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none"), "--out", str(tmp_path / "x.onnx")]) == 1
    assert "no checkpoint" in capsys.readouterr().err


def test_weights_of_pictures_that_forbid_it_are_not_shipped(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, scenes = torch.load(tiny_run / "last.pt"), tmp_path / "mixed"
    scenes.mkdir()
    (scenes / "a.truth.png").touch()
    (scenes / "a.json").write_text(json.dumps({"meta": {"may_ship": False, "set": "theirs"}}))
    checkpoint["config"]["scenes"] = str(scenes)
    torch.save(checkpoint, tmp_path / "last.pt")
    called: list[Path] = []

    def write(checkpoint: Path, out: Path, *rest: object) -> dict[str, str]:
        called.append(checkpoint)
        return {}

    monkeypatch.setattr(exporting, "export", write)
    words = [str(tmp_path), "--out", str(tmp_path / "x.onnx")]
    assert main(words) == 1
    assert "theirs" in (said := capsys.readouterr().err)
    assert "--research-only" in said
    assert called == []
    assert main([*words, "--research-only"]) == 0
    assert called == [tmp_path / "last.pt"]
    assert exporting.describe(tmp_path / "last.pt")["research_only"] is True
    assert "research_only" not in exporting.describe(tiny_run / "last.pt")  # its scenes are there no more
    checkpoint["config"] |= {"scenes": "gone", "init": str(tmp_path / "last.pt")}
    torch.save(checkpoint, tmp_path / "next.pt")
    assert "theirs" in str(forbidden(tmp_path / "next.pt"))
    checkpoint["config"]["init"] = str(tmp_path / "next.pt")
    torch.save(checkpoint, tmp_path / "next.pt")
    assert forbidden(tmp_path / "next.pt") is None  # and it ends


def test_a_checkpoint_tells_what_forbids_shipping_it_when_its_scenes_are_gone(tiny_run: Path, tmp_path: Path) -> None:
    theirs = torch.load(tiny_run / "last.pt") | {"not_shipped": "theirs may not be shipped"}
    torch.save(theirs, tmp_path / "theirs.pt")
    torch.save(torch.load(tiny_run / "last.pt"), tmp_path / "ours.pt")
    made = {"slim": [], "mean": ["--mean-with", "ours.pt"], "meant": ["--mean-with", "theirs.pt"]}
    made |= {"beside": ["--beside", "theirs.pt"], "views": ["--views", "4"], "clean": ["--beside", "ours.pt"]}
    for name, words in made.items():
        start = "ours.pt" if name in ("meant", "beside", "clean") else "theirs.pt"
        others = [str(tmp_path / word) if word.endswith(".pt") else word for word in words]
        assert checkpoint_main([str(tmp_path / start), str(tmp_path / f"{name}.pt"), *others]) == 0
        told = forbidden(tmp_path / f"{name}.pt")
        assert told == (None if name == "clean" else "theirs may not be shipped"), name


def test_heads_are_not_taught_by_what_the_network_may_not_be(tiny_run: Path, tmp_path: Path) -> None:
    scenes = tmp_path / "mixed"
    scenes.mkdir()
    (scenes / "a.truth.png").touch()
    (scenes / "a.json").write_text(json.dumps({"meta": {"may_ship": False, "set": "theirs"}}))
    with pytest.raises(ValueError, match=r"theirs.*may be shipped and would not know"):
        check_lessons(tiny_run / "last.pt", [tmp_path, scenes])
    check_lessons(tiny_run / "last.pt", [tmp_path])
    theirs = torch.load(tiny_run / "last.pt") | {"not_shipped": "theirs may not be shipped"}
    torch.save(theirs, tmp_path / "theirs.pt")
    check_lessons(tmp_path / "theirs.pt", [scenes])


def test_the_file_names_no_path_of_the_machine_that_wrote_it(tiny_onnx: Path) -> None:
    assert str(Path(__file__).resolve().parents[2]).encode() not in tiny_onnx.read_bytes()


@pytest.mark.parametrize("name", ["screen", "spotter", "verifier", "novelty"])
def test_every_head_asks_whether_its_scenes_may_be_shipped(
    name: str, tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenes = tmp_path / "mixed"
    scenes.mkdir()
    (scenes / "a.truth.png").touch()
    (scenes / "a.json").write_text(json.dumps({"meta": {"may_ship": False, "set": "theirs"}}))
    own = ["--check", str(scenes)] if name in ("screen", "spotter") else ["--data", str(tmp_path)]
    call = ["--run", str(tiny_run), "--scenes", str(scenes), *own]
    assert import_module(f"training.{name}").main(call) == 1
    assert "may be shipped and would not know" in capsys.readouterr().err
