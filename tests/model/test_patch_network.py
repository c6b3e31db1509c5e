"""PatchNet keeps SpotNet's contract, sees ratios of light, and starts quiet."""

from __future__ import annotations

import pytest
import torch

from model.network import CONTEXT
from model.patch_network import Patches, PatchNet


@pytest.fixture(scope="module")
def network() -> PatchNet:
    torch.manual_seed(0)
    return PatchNet((16, 16, 16)).eval()


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 160)])
def test_gives_one_output_for_4_by_4_px(network: PatchNet, height: int, width: int) -> None:
    with torch.no_grad():
        stain, chemistry, features = network(
            torch.rand(2, 3, height, width), torch.zeros(2, CONTEXT, height // 8, width // 8)
        )
    assert stain.shape == (2, 1, height // 4, width // 4)
    assert chemistry.shape == (2, 6, height // 4, width // 4)
    assert features.shape == (2, CONTEXT, height // 4, width // 4)
    assert torch.allclose(features[:, :1], stain / 8.0)


def test_calls_most_cloth_clean_before_any_training(network: PatchNet) -> None:
    with torch.no_grad():
        stain, _, _ = network(torch.rand(1, 3, 64, 64), torch.zeros(1, CONTEXT, 8, 8))
    assert torch.sigmoid(stain).mean() < 0.3


def test_pixels_are_seen_as_ratios_to_the_light_about_them() -> None:
    patches = Patches(8)
    with torch.no_grad():
        patches.summary.weight[:, 9:] = 0.0  # all but the light itself, which is there to tell dark cloth from pale
        picture = 0.3 + 0.4 * torch.rand(1, 3, 64, 64)
        dimmed = 0.5 * (picture + 0.02) - 0.02  # half the light, counted from the floor of the logarithm
        assert torch.allclose(patches(picture), patches(dimmed), atol=1e-4)


def test_follows_a_coarser_level_until_it_learns_better(network: PatchNet) -> None:
    picture, context = torch.rand(1, 3, 64, 64), torch.zeros(1, CONTEXT, 8, 8)
    with torch.no_grad():
        alone = network(picture, context)[0]
        context[:, 0] = 1.0
        told = network(picture, context)[0]
    assert (told - alone).mean() > 1.0
