"""The training loop on small scenes: it learns, it can be cut and goes on, and its crops line up across levels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from datasets.compose import Recipe, render_scene
from datasets.pictures import Pool
from datasets.scene import load, names, save
from datasets.torch_data import MiningSampler, SceneViews, augment
from model.network import CONTEXT, SpotNet, load_imagenet
from training.checkpoint import load_network, read
from training.config import Config, configure, describe
from training.loss import stain_loss
from training.train import context_for, learning_rate, run
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
                own = item[f"truth{fine}"][k].reshape(8, 2, 8, 2).mean(dim=(1, 3))
                torch.testing.assert_close(own, seen, atol=1e-5, rtol=0.0)


def test_context_is_cut_at_its_offset() -> None:
    features = torch.arange(2 * 1 * 8 * 8, dtype=torch.float32).view(2, 1, 8, 8)
    out = context_for(features, torch.tensor([[[0, 0], [4, 2]], [[1, 1], [0, 3]]]))
    assert out.shape == (4, 1, 4, 4)
    assert out[1, 0, 0, 0] == features[0, 0, 4, 2]
    assert out[3, 0, 3, 3] == features[1, 0, 3, 6]


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
    assert stain_loss(wrong_where_ignored, truth, valid, Config()) == stain_loss(right, truth, valid, Config())


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


def test_the_loss_falls_when_a_batch_is_shown_again_and_again(scenes: Path) -> None:
    from torch.utils.data import default_collate

    from training.train import make_state, train_step

    torch.manual_seed(0)
    config = small(scenes, warmup=1, steps=40, context_drop=0.0)
    state = make_state(config)
    views = SceneViews(scenes, crop=64)
    batch = default_collate([views[(n, 1)] for n in list(names(scenes))[:2]])
    values = [train_step(state, batch, config)[0]["loss"] for _ in range(12)]
    assert min(values[-3:]) < 0.75 * values[0]


def test_mining_shows_loud_clean_scenes_more_often(scenes: Path) -> None:
    for i in range(60):
        (scenes / f"x{i:02d}.truth.png").touch()
    sampler = MiningSampler(scenes, seed=0, mined_share=0.5)
    for i in range(60):
        sampler.report(f"x{i:02d}", 1.0 if i < 10 else 0.01)
    keys = iter(sampler)
    drawn = [next(keys)[0] for _ in range(600)]
    for path in scenes.glob("x*.truth.png"):
        path.unlink()
    share = np.mean([n in {f"x{i:02d}" for i in range(50)} for n in drawn])
    assert share > 0.7


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
