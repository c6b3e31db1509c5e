"""A picture becomes a stain map: rectify, look coarse then close, calibrate, threshold, pack."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.calibration import Calibration
from model.cells import PAD_LOGIT, cells_from_logits
from model.grid import CANVAS_PX_PER_MM, StainMap
from model.onnx_file import ModelInfo, OnnxFile
from model.rectify import rectify, seen_subcells
from model.taxonomy import CHEMISTRIES
from model.tiling import Canvas, run_pyramid
from model.visibility import Visibility, blur_warning, resolution_warning

CANVAS_MM_PER_PX: Final = 1 / CANVAS_PX_PER_MM
DEFAULT_PRESET: Final = "default"

Progress = Callable[[float], None]
"""Is told the share of a picture that is done, 0 to 1."""


class Detector:
    """Finds stains in pictures. One detector serves any number of threads at once.

    Args:
        model_path: a `spotgrid.model/v1` ONNX file; None = the network that comes with Spotgrid.
        threads: CPU threads for one run of the network; None = the CPUs that this process may use.
        providers: onnxruntime execution providers in order of preference; None = the CPU.

    Raises:
        ModelFileError: the model file is missing, not ONNX, or not one of ours.
        ValueError: threads below 1, or a provider that this onnxruntime does not have.
    """

    def __init__(
        self,
        model_path: str | Path | None = None,
        threads: int | None = None,
        providers: Sequence[str] | None = None,
    ) -> None:
        self._network = OnnxFile(model_path, threads, providers)

    @property
    def info(self) -> ModelInfo:
        """What the model file says of itself; `info.id` is what stain maps quote."""
        return self._network.info

    @property
    def presets(self) -> Mapping[str, float]:
        """Operating thresholds by name; ``"default"`` is among them."""
        return self.info.presets

    def detect(
        self,
        image: NDArray[np.uint8],
        *,
        mm_per_px: float | None = None,
        calibration: Calibration | None = None,
        threshold: float | None = None,
        preset: str | None = None,
        source: str | None = None,
        garment_id: str | None = None,
        captured_at: str | None = None,
        age_ms: float = 0.0,
        progress: Progress | None = None,
    ) -> StainMap:
        """Find the stains of one picture.

        Args:
            image: uint8 (H, W, 3) RGB, upright (see `model.picture.read_picture`).
            mm_per_px: the camera's scale, 0.02 to 5; or
            calibration: where the picture lies on the table. Exactly one of the two.
            threshold: list cells from this confidence on, 0 to 1; or
            preset: one of `presets`; neither = the model's own threshold.
            source, garment_id, captured_at: passed into the map (see `StainMap`).
            age_ms: how old the picture is at this call; the map adds what detecting took.
            progress: called after each row of tiles.

        Raises:
            LimitError: scale or canvas beyond the limits (0.02 to 5 mm per px, 10 m²).
            ValueError: another argument is out of range, or the picture has not the calibration's size.
        """
        started = time.monotonic()
        _check_image(image)
        place = _place(image, mm_per_px, calibration)
        threshold, preset = self.operating_point(threshold, preset)
        canvas, seen = _canvas(image, place), seen_subcells(place)
        stain_logit, chemistry_prob = self._look(canvas, seen, progress)
        visibility = Visibility.of(canvas.glance, seen)
        info = self.info
        return StainMap(
            **vars(cells_from_logits(stain_logit, chemistry_prob, info.cell_head, threshold, info.unsure_below)),
            **_geometry(place),
            unseen=visibility.unseen_cells(),
            model=info.id,
            threshold=threshold,
            preset=preset,
            source=source,
            garment_id=garment_id,
            captured_at=captured_at,
            age_ms=age_ms + 1e3 * (time.monotonic() - started),
            warnings=tuple(_warnings(image, place, visibility)),
        )

    def detect_canvas(
        self, canvas: NDArray[np.uint8], *, threshold: float | None = None, preset: str | None = None
    ) -> StainMap:
        """`detect` on a canvas: uint8 (H, W, 3) RGB at 4 px/mm."""
        return self.detect(canvas, mm_per_px=CANVAS_MM_PER_PX, threshold=threshold, preset=preset)

    def logits(self, canvas: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The network's dense maps, before any threshold: what training and evaluation look at.

        Args:
            canvas: uint8 (H, W, 3) RGB at 4 px/mm.

        Returns:
            stain_logit float32 (h_mm, w_mm) and chemistry_prob float32 (6, h_mm, w_mm), both sides rounded up to whole
            cells; the logit is `PAD_LOGIT` beyond the canvas.

        Raises:
            LimitError: over 10 m².
            ValueError: not such an array.
        """
        _check_image(canvas)
        place = Calibration.from_scale(CANVAS_MM_PER_PX, (canvas.shape[1], canvas.shape[0]))
        return self._look(_canvas(canvas, place), seen_subcells(place), None)

    def operating_point(self, threshold: float | None = None, preset: str | None = None) -> tuple[float, str | None]:
        """The threshold to use and the preset it came from (None = set by hand).

        Raises:
            ValueError: both given, threshold not in 0 to 1, or no such preset.
        """
        if threshold is not None:
            if preset is not None:
                raise ValueError("threshold and preset are both given; they set the same thing: give one of them")
            if not 0 <= threshold <= 1:
                raise ValueError(
                    f"threshold is {threshold:g}; allowed 0 to 1 (this model's own is {self.info.threshold:g})"
                )
            return threshold, None
        name = DEFAULT_PRESET if preset is None else preset
        if name not in self.presets:
            raise ValueError(f"preset is {name!r}; this model has {', '.join(self.presets)}")
        return self.presets[name], name

    def _look(
        self, canvas: Canvas, seen: NDArray[np.bool_], progress: Progress | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Dense maps over the whole canvas: logit (h_mm, w_mm) and chemistry probability (6, h_mm, w_mm), float32."""
        height, width = seen.shape
        stain_logit = np.empty((height, width), dtype=np.float32)
        chemistry_prob = np.empty((len(CHEMISTRIES), height, width), dtype=np.float32)
        for rows, stain, chemistry in run_pyramid(canvas, self._network):
            stain_logit[rows] = stain
            chemistry_prob[:, rows] = _softmax(chemistry)
            if progress is not None:
                progress(rows.stop / height)
        stain_logit[~seen] = PAD_LOGIT
        return stain_logit, chemistry_prob


def _place(image: NDArray[np.uint8], mm_per_px: float | None, calibration: Calibration | None) -> Calibration:
    if calibration is not None and mm_per_px is None:
        return calibration
    if mm_per_px is not None and calibration is None:
        return Calibration.from_scale(mm_per_px, (image.shape[1], image.shape[0]))
    raise ValueError("give the picture's scale by mm_per_px or by calibration: exactly one of them")


def _geometry(place: Calibration) -> dict[str, Any]:
    """The fields of a stain map that the calibration alone decides."""
    return {
        "grid": place.grid,
        "image_px": place.image_px,
        "calibration": place.label,
        "mm_per_px": place.mm_per_px,
        "px_to_mm": place.px_to_mm,
        "resolvable_mm2": place.resolvable_mm2,
    }


def _check_image(image: NDArray[np.uint8]) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(
            f"picture is {image.dtype} of shape {image.shape}; it must be uint8 (height, width, 3) RGB: "
            f"model.picture.read_picture makes it from any file"
        )


def _canvas(image: NDArray[np.uint8], place: Calibration) -> Canvas:
    width, height = place.canvas_size_px

    def read(top: int, bottom: int) -> NDArray[np.uint8]:
        return rectify(image, place, (0, top, width, bottom - top))

    return Canvas(height, width, read)


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Over the first axis, float32 (6, …) -> (6, …)."""
    exp = np.exp(logits - logits.max(axis=0))
    return np.asarray(exp / exp.sum(axis=0), dtype=np.float32)


def _warnings(image: NDArray[np.uint8], place: Calibration, visibility: Visibility) -> Iterator[str]:
    yield from visibility.warnings()
    for sentence in (
        resolution_warning(place.mm_per_px, place.resolvable_mm2),
        blur_warning(image, place.mm_per_px),
    ):
        if sentence is not None:
            yield sentence
