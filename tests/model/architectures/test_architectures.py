"""Every architecture keeps the contract, and any encoder of timm can see first."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch

from model import architectures
from model.architectures._pyramid import Pyramid
from model.network import CONTEXT

TINY = "timm:test_resnet"


def test_the_folder_is_the_list() -> None:
    assert architectures.names() == ["spotnet", "unet"]
    with pytest.raises(ValueError, match="choose spotnet, unet"):
        architectures.build("resnet", TINY, 16)


@pytest.mark.parametrize("name", architectures.names())
def test_each_keeps_the_contract(name: str) -> None:
    torch.manual_seed(0)
    network = architectures.build(name, TINY, 16).eval()
    with torch.no_grad():
        stain, chemistry, features = network(torch.rand(2, 3, 64, 96), torch.zeros(2, CONTEXT, 8, 12))
        told = network(torch.rand(2, 3, 64, 96), torch.ones(2, CONTEXT, 8, 12))[0]
    assert stain.shape == (2, 1, 16, 24)
    assert chemistry.shape == (2, 6, 16, 24)
    assert features.shape == (2, CONTEXT, 16, 24)
    torch.testing.assert_close(features[:, :1], stain / 8.0, rtol=1e-3, atol=1e-4)
    assert not torch.equal(stain, told), "the coarser level is heard"
    assert float(torch.sigmoid(stain).mean()) < 0.3, "it starts quiet"


@pytest.mark.parametrize("encoder", ["test_resnet", "test_convnext", "test_vit", "test_efficientnet"])
def test_any_encoder_of_timm_gives_four_strides(encoder: str) -> None:
    pyramid = Pyramid(encoder).eval()
    with torch.no_grad():
        found = pyramid(torch.zeros(1, 3, 64, 96))
    assert [tuple(f.shape) for f in found] == [
        (1, channels, 64 // stride, 96 // stride)
        for channels, stride in zip(pyramid.channels, (2, 4, 8, 16), strict=True)
    ]


def test_an_encoder_that_timm_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="has no such model"):
        architectures.build("spotnet", "timm:nonesuch", 16)
    with pytest.raises(ValueError, match="use timm:test_convnext"):
        architectures.build("spotnet", "test_convnext", 16)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_weights_of_timm_fill_the_encoder(suffix: str, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    torch.manual_seed(1)
    whole = timm.create_model("test_convnext").state_dict()
    path = tmp_path / f"w{suffix}"
    if suffix == ".pt":
        torch.save(whole, path)
    else:
        save_file(whole, path)
    pyramid = Pyramid("test_convnext")
    assert pyramid.load(path) == len(pyramid.body.state_dict())
    assert torch.equal(pyramid.body.state_dict()["stem_0.weight"], whole["stem.0.weight"])
    torch.save({"x": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="no weight of it fits"):
        pyramid.load(tmp_path / "other.pt")
