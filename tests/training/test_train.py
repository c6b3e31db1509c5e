"""The training loop on small scenes: it learns, it can be cut and goes on, and its crops line up across levels."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from datasets.compose import Recipe, render_scene
from datasets.pictures import Pool
from datasets.scene import Scene, Stain, load, names, save
from datasets.torch_data import SPECK_MM2, SceneViews, _emphasis, _target, augment
from model.network import CONTEXT, Ratios, SpotNet, load_imagenet
from training import export as exporting
from training.checkpoint import load_network, read, start_from
from training.checkpoint import main as checkpoint_main
from training.checkpoint import save as save_checkpoint
from training.config import Config, configure, describe
from training.loss import kept_loss, stain_loss
from training.step import context_for, learning_rate, losses, set_modes, train_step
from training.train import load_teacher, make_state, run
from training.validate import look

RECIPE = Recipe(size_mm=64, pictures={}, clean_share=0.2, stains=(3, 6), area_mm2=(4.0, 300.0), giant_share=0.0)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    for seed in range(4):
        save(render_scene(RECIPE, Pool(None, "train"), seed), folder, f"s{seed}")
    return folder


def small(scenes: Path, **changes: object) -> Config:
    pairs = {
        "scenes": scenes,
        "val_scenes": scenes,
        "crop": 64,
        "batch": 2,
        "workers": 0,
        "pretrained": False,
        **changes,
    }
    return configure([f"{k}={v}" for k, v in pairs.items()])


def test_crops_of_all_levels_lie_where_they_say(scenes: Path) -> None:
    views = SceneViews(scenes, crop=64)
    for seed in range(12):
        item = views[("s0", seed)]
        for fine, coarse in ((1, 2), (2, 4)):
            shift = item[f"at{fine}"]
            truth = torch.repeat_interleave(item[f"truth{coarse}"], len(shift), dim=0)  # (k, 16, 16)
            for k, (y, x) in enumerate(shift.tolist()):
                seen = truth[k, y : y + 8, x : x + 8]  # this crop's area, one value every two of its own
                own, speck = (item[f"{layer}{fine}"][k].reshape(8, 2, 8, 2) for layer in ("truth", "emphasis"))
                large = speck.amax(dim=(1, 3)) < np.sqrt(30.0 / SPECK_MM2)  # a speck counts as whole at the last level
                torch.testing.assert_close(own.mean(dim=(1, 3))[large], seen[large], atol=1e-5, rtol=0.0)


def test_context_is_cut_at_its_offset() -> None:
    features = torch.arange(2 * 1 * 8 * 8, dtype=torch.float32).view(2, 1, 8, 8)
    out = context_for(features, torch.tensor([[[0, 0], [4, 2]], [[1, 1], [0, 3]]]))
    assert out.shape == (4, 1, 4, 4)
    assert out[1, 0, 0, 0] == features[0, 0, 4, 2]
    assert out[3, 0, 3, 3] == features[1, 0, 3, 6]


def test_a_crop_larger_than_the_scene_is_told(scenes: Path) -> None:
    assert SceneViews(scenes, crop=64)["s0", 1]["image4"].shape == (1, 3, 64, 64)
    side = load(scenes, "s0").image.shape[0]
    crop = side // 128 * 32
    assert SceneViews(scenes, crop=crop)["s0", 1]["image4"].shape == (1, 3, crop, crop)
    with pytest.raises(ValueError, match=rf"scene s0 .* has {side} px a side.*take crop={crop} at most"):
        SceneViews(scenes, crop=crop + 32)["s0", 1]


def test_augmentation_moves_picture_and_truth_together(scenes: Path) -> None:
    scene = load(scenes, "s1")
    turned = augment(np.random.default_rng(3), scene)
    assert turned.coverage.sum() == pytest.approx(float(scene.coverage.sum()), rel=1e-5)
    stained = np.repeat(np.repeat(turned.coverage > 0.9, 4, 0), 4, 1)
    before = np.repeat(np.repeat(scene.coverage > 0.9, 4, 0), 4, 1)
    shift = scene.image[before].mean(0) - scene.image[~before].mean(0)
    moved = turned.image[stained].mean(0) - turned.image[~stained].mean(0)
    assert np.sign(shift[np.abs(shift).argmax()]) == np.sign(moved[np.abs(shift).argmax()])


def test_mm2_that_nobody_can_judge_do_not_count() -> None:
    truth, valid = torch.zeros(1, 4, 4), torch.zeros(1, 4, 4)
    valid[0, :2] = 1.0
    wrong_where_ignored = torch.full((1, 4, 4), -9.0)
    wrong_where_ignored[0, 2:] = 9.0
    right = torch.full((1, 4, 4), -9.0)
    even = torch.ones_like(truth)
    loss = [stain_loss(logit, truth, valid, even, Config()) for logit in (wrong_where_ignored, right)]
    assert loss[0] == loss[1]
    assert stain_loss(-right, truth, valid, even, Config()) > loss[1]


def test_a_speck_counts_more_than_its_area() -> None:
    truth, valid = torch.zeros(1, 8, 8), torch.ones(1, 8, 8)
    truth[0, 0, 0] = 1.0
    missed = torch.full((1, 8, 8), -5.0)
    emphasis = torch.ones_like(truth)
    even = stain_loss(missed, truth, valid, emphasis, Config(dice=0.0))
    emphasis[0, 0, 0] = 5.0
    assert stain_loss(missed, truth, valid, emphasis, Config(dice=0.0)) > 3 * even


def test_one_loud_clean_mm2_costs_more_than_its_share() -> None:
    truth, valid = torch.zeros(1, 16, 16), torch.ones(1, 16, 16)
    loud = torch.full((1, 16, 16), -9.0)
    loud[0, 3, 3] = 9.0
    with_it, without = (stain_loss(loud, truth, valid, valid, Config(hardest=weight, dice=0.0)) for weight in (0.1, 0))
    assert float(with_it - without) > 10 * Config().bce * 0.1 * 9.0 / 256


def test_specks_are_whole_where_they_are_most_and_faint_stains_are_not_asked_for() -> None:
    coverage = np.zeros((20, 20), np.float32)
    coverage[2:4, 2:4] = 0.3  # a speck astride four mm²
    coverage[10:16, 10:16] = 0.6
    stain_id = np.where(coverage > 0, 1, 0).astype(np.int16)
    stain_id[10:16, 10:16] = 2
    stains = (
        Stain(1, "coffee", "tannin", "drop", 1.2, 20.0, 15.0),
        Stain(2, "coffee", "tannin", "patch", 21.6, 3.0, 3.0),
    )
    source = (stain_id > 0).astype(np.uint8)
    scene = Scene(np.zeros((80, 80, 3), np.uint8), coverage, stain_id, source, coverage < 0, stains)
    target = _target(scene)
    assert target[2, 2] == pytest.approx(1.0)
    assert target[12, 12] == pytest.approx(0.6)
    emphasis, faint = _emphasis(scene)
    assert emphasis[2, 2] == pytest.approx(5.0)
    assert emphasis[0, 0] == 1.0
    assert faint[12, 12]
    assert not faint[2, 2]
    assert not faint[0, 0]


@torch.no_grad()
def test_ratios_do_not_see_how_bright_the_lamp_is() -> None:
    torch.manual_seed(0)
    ratios = Ratios(8).eval()
    image = torch.rand(1, 3, 64, 64) * 0.4 + 0.1
    flat, dim, bright = (ratios(x) for x in (torch.full((1, 3, 64, 64), 0.5), image, image * 2.0))
    assert bright.shape == (1, 8, 16, 16)
    assert float((bright - dim).abs().mean()) < 0.2 * float((dim - flat).abs().mean())  # the noise floor remains
    assert float((flat - flat.mean((2, 3), keepdim=True)).abs().max()) < 1e-5


def test_a_run_may_start_from_another_networks_weights(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(small(scenes, steps=1, save_every=1, val_every=9, ema=0.5), tmp_path)
    data = read(tmp_path / "last.pt")
    del data["ema"]["chemistry.bias"]
    torch.save(data, tmp_path / "older.pt")
    network = SpotNet()
    start_from(network, tmp_path / "older.pt")
    assert "new: chemistry" in capsys.readouterr().err
    assert torch.equal(network.state_dict()["stain.weight"], first.ema["stain.weight"])
    torch.save(data | {"ema": {"x": torch.zeros(1)}}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="no weight of it fits"):
        start_from(network, tmp_path / "other.pt")


def test_a_run_learns_and_a_cut_run_goes_on(scenes: Path, tmp_path: Path) -> None:
    config = small(scenes, steps=4, save_every=2, val_every=4, ema=0.5)
    state = run(config, tmp_path)
    assert state.step == 4
    assert read(tmp_path / "last.pt")["step"] == 4
    rows = [line.split(",") for line in (tmp_path / "log.csv").read_text().splitlines()]
    assert {"val_f1", "val_loud_share"} <= {r[1] for r in rows}
    longer = run(small(scenes, steps=6, save_every=2, val_every=6, ema=0.5), tmp_path)
    assert longer.step == 6
    network = load_network(tmp_path / "last.pt")
    logits = look(network, load(scenes, "s0").image)
    assert logits.shape == (32 * (256 // 128), 32 * (256 // 128))


def test_a_slim_checkpoint_holds_the_averaged_weights_alone(tiny_run: Path, tmp_path: Path) -> None:
    assert checkpoint_main([str(tiny_run / "last.pt"), str(tmp_path / "slim.pt")]) == 0
    whole, slim = load_network(tiny_run / "last.pt"), load_network(tmp_path / "slim.pt")
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), slim.state_dict().values(), strict=True))
    assert set(read(tmp_path / "slim.pt")) == {"schema", "config", "step", "best", "ema", "views"}
    assert read(tmp_path / "slim.pt")["config"]["scenes"] == "train"  # no machine's folders
    assert checkpoint_main([str(tmp_path / "none.pt"), str(tmp_path / "x.pt")]) == 1


def test_the_mean_of_a_run_and_of_what_it_became_lies_half_way(tiny_run: Path, tmp_path: Path) -> None:
    one, other = str(tiny_run / "last.pt"), str(tmp_path / "other.pt")
    data = read(Path(one))
    key = "stain.weight"
    torch.save(data | {"ema": data["ema"] | {key: data["ema"][key] + 2.0}}, other)
    assert checkpoint_main([one, str(tmp_path / "mean.pt"), "--mean-with", other]) == 0
    torch.testing.assert_close(read(tmp_path / "mean.pt")["ema"][key], data["ema"][key] + 1.0)
    torch.save(data | {"ema": {key: data["ema"][key]}}, other)
    assert checkpoint_main([one, str(tmp_path / "none.pt"), "--mean-with", other]) == 1
    assert not (tmp_path / "none.pt").exists()


@pytest.mark.parametrize("option", ["--mean-with", "--beside"])
def test_of_networks_side_by_side_none_is_lost_on_the_quiet(
    tiny_run: Path, tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    alone, both, out = str(tiny_run / "last.pt"), str(tmp_path / "both.pt"), tmp_path / "out.pt"
    assert checkpoint_main([alone, both, "--beside", alone]) == 0
    for one, other in ((both, alone), (alone, both)):
        assert checkpoint_main([one, str(out), option, other]) == 1
        assert "2 networks side by side" in capsys.readouterr().err
        assert not out.exists(), "a first network alone is no mean of two"


def test_a_mean_has_shares_and_names_its_parents(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, other = tiny_run / "last.pt", tmp_path / "other.pt"
    data = torch.load(path)
    torch.save(data | {"ema": {key: value + 1 for key, value in data["ema"].items()}}, other)
    call = [str(path), str(tmp_path / "mean.pt"), "--mean-with", str(other)]
    assert checkpoint_main([*call, "--share", "0.25"]) == 0
    mean = torch.load(tmp_path / "mean.pt")
    key = next(key for key, value in data["ema"].items() if value.is_floating_point())
    torch.testing.assert_close(mean["ema"][key], data["ema"][key] + 0.25)
    assert [parent["share"] for parent in mean["mean_of"]] == [0.75, 0.25]
    assert mean["mean_of"][1]["checkpoint_sha256"] == hashlib.sha256(other.read_bytes()).hexdigest()
    assert exporting.describe(tmp_path / "mean.pt")["mean_of"] == mean["mean_of"]
    assert checkpoint_main([*call, "--share", "1.5"]) == 1
    assert "0 to 1" in capsys.readouterr().err


@torch.no_grad()
def test_a_network_of_four_views_says_the_same_of_a_mirrored_picture(tiny_run: Path, tmp_path: Path) -> None:
    assert checkpoint_main([str(tiny_run / "last.pt"), str(tmp_path / "m" / "last.pt"), "--views", "4"]) == 0
    one, four = load_network(tiny_run / "last.pt"), load_network(tmp_path / "m" / "last.pt")
    image, context = torch.rand(1, 3, 64, 96), torch.zeros(1, CONTEXT, 8, 12)
    for flat, mirrored in zip(four(image, context), four(image.flip(3), context), strict=True):
        assert torch.allclose(flat, mirrored.flip(3), atol=1e-5)
    assert not torch.allclose(one(image, context)[0], one(image.flip(3), context)[0].flip(3), atol=1e-5)


@torch.no_grad()
def test_networks_that_look_together_say_their_mean_and_each_hears_its_own(tiny_run: Path, tmp_path: Path) -> None:
    data = torch.load(tiny_run / "last.pt")
    moved = {key: value + 0.02 if value.is_floating_point() else value for key, value in data["ema"].items()}
    torch.save(data | {"ema": moved}, tmp_path / "other.pt")
    call = [str(tiny_run / "last.pt"), str(tmp_path / "both" / "last.pt"), "--beside", str(tmp_path / "other.pt")]
    assert checkpoint_main(call) == 0
    one, other, both = (
        load_network(p) for p in (tiny_run / "last.pt", tmp_path / "other.pt", tmp_path / "both/last.pt")
    )
    image, context = torch.rand(1, 3, 64, 96), torch.rand(1, 2 * CONTEXT, 8, 12)
    told = context.chunk(2, dim=1)
    stain, chemistry, features = both(image, context)
    alone = one(image, told[0]), other(image, told[1])
    torch.testing.assert_close(stain, (alone[0][0] + alone[1][0]) / 2)
    torch.testing.assert_close(chemistry, (alone[0][1] + alone[1][1]) / 2)
    torch.testing.assert_close(features, torch.cat([alone[0][2], alone[1][2]], dim=1))
    assert checkpoint_main([str(tmp_path / "both" / "last.pt"), str(tmp_path / "kept.pt")]) == 0
    torch.testing.assert_close(load_network(tmp_path / "kept.pt")(image, context)[0], stain)  # both are still there
    whole = exporting.describe(tmp_path / "both" / "last.pt")
    assert whole["beside_sha256"] == [hashlib.sha256((tmp_path / "other.pt").read_bytes()).hexdigest()]


def test_a_teacher_is_kept_to_but_for_what_is_to_be_learnt_anew() -> None:
    torch.manual_seed(0)
    told = [torch.randn(2, 1, 8, 8), torch.randn(2, 6, 8, 8), torch.randn(2, 4, 8, 8)]
    every = torch.tensor([True, True])
    assert float(kept_loss(told, told, every)) == pytest.approx(0.0, abs=1e-6)
    for part in range(3):
        strayed = [one + (number == part) * torch.randn_like(one) for number, one in enumerate(told)]
        assert float(kept_loss(strayed, told, every)) > 0.01
        only_first = [torch.cat([one[:1], other[1:]]) for one, other in zip(told, strayed, strict=True)]
        assert float(kept_loss(only_first, told, torch.tensor([True, False]))) == pytest.approx(0.0, abs=1e-6)
    far = [told[0] - 40.0, *told[1:]], [told[0] - 80.0, *told[1:]]
    assert float(kept_loss(*far, every)) == pytest.approx(0.0, abs=1e-6), "sure is sure"


def test_with_a_teacher_only_scenes_to_learn_anew_are_learnt_by_their_truth(scenes: Path, tmp_path: Path) -> None:
    start = tmp_path / "start.pt"
    config = small(scenes, norm_until=0)
    save_checkpoint(make_state(config), describe(config), start)
    config = replace(config, teacher=str(start), init=str(start))
    state, teacher = make_state(config), load_teacher(config)
    assert teacher is not None
    batch = next(iter(DataLoader(SceneViews(scenes, crop=64), batch_sampler=[[("s0", 1), ("s1", 2)]])))
    told = dict.fromkeys((2, 1), True)
    set_modes(state.network, 0, config)
    for anew, least in ((True, 1e-2), (False, 0.0)):
        batch["anew"][:] = anew
        state.optimiser.zero_grad()
        total, parts, _ = losses(state.network, batch, config, told, teacher)
        total.backward()  # type: ignore[no-untyped-call]
        assert all(float(parts[f"kept{level}"].detach()) < 1e-6 for level in (4, 2, 1)), "it still is its teacher"
        pull = max(float(one.grad.abs().max()) for one in state.network.parameters() if one.grad is not None)
        assert pull > least if anew else pull < 1e-5
        assert (float(total.detach()) > 0.1) is anew


def test_a_teacher_that_is_no_checkpoint_is_told(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not found; a run writes"):
        run(small(scenes, teacher=tmp_path / "none.pt", steps=1), tmp_path / "run")


def test_bf16_learns_with_depthwise_convolutions_in_fp32(scenes: Path, tmp_path: Path) -> None:
    config = small(scenes, steps=2, save_every=2, val_every=2, precision="bf16")
    state = run(config, tmp_path)
    assert isinstance(state.network, SpotNet)
    depthwise = [m for m in state.network.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    with torch.autocast("cpu", torch.bfloat16):
        assert depthwise[-1](torch.zeros(1, depthwise[-1].in_channels, 8, 8)).dtype == torch.float32
        assert state.network.stain(torch.zeros(1, config.width, 8, 8)).dtype == torch.bfloat16
    assert all(torch.isfinite(value).all() for value in state.ema.values() if value.is_floating_point())


def test_the_loss_falls_when_a_batch_is_shown_again_and_again(scenes: Path) -> None:
    from torch.utils.data import default_collate

    torch.manual_seed(0)
    config = small(scenes, warmup=1, steps=40, context_drop=0.0)
    state = make_state(config)
    views = SceneViews(scenes, crop=64)
    batch = default_collate([views[(n, 1)] for n in list(names(scenes))[:2]])
    values = [train_step(state, batch, config)[0]["loss"] for _ in range(12)]
    assert min(values[-3:]) < 0.75 * values[0]


def test_configuration_teaches(tmp_path: Path) -> None:
    toml = tmp_path / "run.toml"
    toml.write_text("steps = 7\nlr = 1e-3\n")
    config = configure([str(toml), "steps=9"])
    assert (config.steps, config.lr) == (9, 1e-3)
    assert set(describe(config)) == set(describe(Config()))
    for wrong, message in (("stepz=1", "unknown key"), ("steps=x", "expected a int"), ("crop=100", "multiple of 32")):
        with pytest.raises(ValueError, match=message):
            configure([wrong])


def test_the_learning_rate_warms_up_and_falls() -> None:
    config = Config(steps=1000, warmup=100)
    rates = [learning_rate(s, config) for s in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == pytest.approx(1.0)
    assert rates[-1] < 0.02


def test_imagenet_weights_fill_the_encoder() -> None:
    network = SpotNet()
    before = network.encoder.state_dict()["conv_stem.weight"].clone()
    load_imagenet(network)
    assert not torch.equal(before, network.encoder.state_dict()["conv_stem.weight"])
    stain, chemistry, features = network.eval()(torch.rand(1, 3, 64, 96), torch.zeros(1, CONTEXT, 8, 12))
    assert stain.shape == (1, 1, 16, 24)
    assert chemistry.shape == (1, 6, 16, 24)
    assert features.shape == (1, CONTEXT, 16, 24)
