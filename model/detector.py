"""A picture becomes a stain map: rectify, look coarse then close, calibrate, threshold, pack."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.calibration import Calibration
from model.canvas import whole_canvas
from model.cells import PAD_LOGIT
from model.focus import SHARP_PX, edge_width_px
from model.grid import CANVAS_PX_PER_MM, StainMap
from model.onnx_file import ModelInfo, OnnxFile
from model.recheck import in_question, look_again, restricted, with_neighbours, worthwhile
from model.rectify import check_size, seen_subcells
from model.scan import Progress, Scan, Told, camera_warnings, check_picture, geometry, scan_place, softmax
from model.taxonomy import CHEMISTRIES
from model.tiling import Pyramid
from model.verifier import confidence
from model.visibility import shows_nothing

CANVAS_MM_PER_PX: Final = 1 / CANVAS_PX_PER_MM
DEFAULT_PRESET: Final = "default"


class Detector:
    """Finds stains in pictures. One detector serves any number of threads at once.

    Args:
        model_path: a `spotgrid.model/v1` ONNX file, or the name of a network that comes with Spotgrid (model/weights);
            None = spotgrid-s.
        threads: CPU threads for one picture; None = the CPUs that this process may use.
        providers: onnxruntime execution providers in order of preference; None = the CPU. Or ``["OpenVINO"]``, which
            needs spotgrid[openvino] and multiplies in bfloat16 where the processor can: answers are rounded otherwise.
        screening: False = look closely everywhere, even where the model file's screen says that it is not worth it.

    Raises:
        ModelFileError: the model file is missing, not ONNX, or not one of ours.
        ValueError: threads below 1, or a provider that is not installed.
    """

    def __init__(
        self,
        model_path: str | Path | None = None,
        threads: int | None = None,
        providers: Sequence[str] | None = None,
        screening: bool = True,
    ) -> None:
        self._network, self._screening = OnnxFile(model_path, threads, providers), screening

    @property
    def info(self) -> ModelInfo:
        """What the model file says of itself; `info.id` is what stain maps quote."""
        return self._network.info

    @property
    def providers(self) -> tuple[str, ...]:
        """What runs the network, in order of preference."""
        return self._network.providers

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
        check_picture(image)
        place = _place(image, mm_per_px, calibration)
        check_size(image, place)
        threshold, preset = self.operating_point(threshold, preset)
        told = Told(source, garment_id, captured_at, age_ms)
        scan = Scan(self._network, place, threshold, preset, told, image.shape[0], self._screening)
        return scan.whole(image, progress)

    def open_scan(
        self,
        *,
        width_px: int,
        mm_per_px: float | None = None,
        calibration: Calibration | None = None,
        threshold: float | None = None,
        preset: str | None = None,
        source: str | None = None,
        garment_id: str | None = None,
        captured_at: str | None = None,
    ) -> Scan:
        """Find stains while a picture comes in, in strips from its top: see `Scan`.

        Args:
            width_px: of every strip.
            mm_per_px: the camera's scale, along both axes, 0.02 to 5; or
            calibration: one that holds nothing but a scale (`Calibration.from_scale`). Exactly one of the two.
            threshold, preset, source, garment_id, captured_at: as in `detect`.

        Raises:
            LimitError: scale beyond the limits, or strips that cover more than 4 m across.
            ValueError: another argument is out of range, or the calibration has a lens: a strip cannot be rectified
                by itself then.
        """
        place = scan_place(width_px, mm_per_px, calibration)
        threshold, preset = self.operating_point(threshold, preset)
        told = Told(source, garment_id, captured_at)
        return Scan(self._network, place, threshold, preset, told, screening=self._screening)

    def recheck(
        self,
        previous: StainMap,
        image: NDArray[np.uint8],
        *,
        mm_per_px: float | None = None,
        calibration: Calibration | None = None,
        threshold: float | None = None,
        preset: str | None = None,
        source: str | None = None,
        captured_at: str | None = None,
        age_ms: float = 0.0,
    ) -> StainMap:
        """Look again at the cells of a map and their neighbours, after they were treated.

        The answer is that of `detect` on these cells, for a fraction of the work; of `classes`, only where the blot
        lies in what was looked at (whole tiles).
        Cells elsewhere were clean before and are not looked at: they are not listed, and stay unseen if they were.

        Args:
            previous: the map before; its operating point and garment are kept unless others are given.
            image, mm_per_px, calibration, threshold, preset, source, captured_at, age_ms: as in `detect`; camera and
                garment must not have moved.

        Raises:
            LimitError: as `detect`.
            ValueError: as `detect`, or the picture's grid is not the previous map's.
        """
        started = time.monotonic()
        check_picture(image)
        place = _place(image, mm_per_px, calibration)
        check_size(image, place)
        if place.grid != previous.grid:
            raise ValueError(f"the picture lies on {place.grid}, the map before on {previous.grid}: detect anew")
        kept = threshold is None and preset is None
        at = (previous.threshold, previous.preset) if kept else self.operating_point(threshold, preset)
        cells, width_px = in_question(previous), edge_width_px(image)
        blind = len(previous.unseen) == cells.size or shows_nothing(place.mm_per_px, width_px, SHARP_PX)
        if worthwhile(with_neighbours(cells, self.info.reach), self.info.core_px) and not blind:
            found, unseen = look_again(image, place, self._network, at[0], cells, self._screening)
        else:
            found, unseen = restricted(self.detect(image, calibration=place, threshold=at[0]), cells)
        return StainMap(
            **vars(found),
            **geometry(place),
            unseen=np.concatenate([previous.unseen[~cells[tuple(previous.unseen.T)]], unseen]),
            model=self.info.id,
            threshold=at[0],
            preset=at[1],
            source=source,
            garment_id=previous.garment_id,
            captured_at=captured_at,
            age_ms=age_ms + 1e3 * (time.monotonic() - started),
            warnings=tuple(camera_warnings(place, width_px)),
        )

    def detect_canvas(
        self, canvas: NDArray[np.uint8], *, threshold: float | None = None, preset: str | None = None
    ) -> StainMap:
        """`detect` on a canvas: uint8 (H, W, 3) RGB at 4 px/mm."""
        return self.detect(canvas, mm_per_px=CANVAS_MM_PER_PX, threshold=threshold, preset=preset)

    def logits(self, canvas: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The network's dense maps, before any threshold: what training and evaluation look at. Where no close look was
        worth it, the logit is `CLEAN_LOGIT`.

        Args:
            canvas: uint8 (H, W, 3) RGB at 4 px/mm.

        Returns:
            stain_logit float32 (h_mm, w_mm) and chemistry_prob float32 (6, h_mm, w_mm), both sides rounded up to whole
            cells; the logit is `PAD_LOGIT` beyond the canvas.

        Raises:
            LimitError: over 10 m².
            ValueError: not such an array.
        """
        check_picture(canvas)
        place = Calibration.from_scale(CANVAS_MM_PER_PX, (canvas.shape[1], canvas.shape[0]))
        seen = seen_subcells(place)
        stain_logit = np.empty(seen.shape, dtype=np.float32)
        chemistry_prob = np.empty((len(CHEMISTRIES), *seen.shape), dtype=np.float32)
        plane = whole_canvas(canvas, place, self.info.levels[0])
        for rows, stain, chemistry in Pyramid(plane, self._network, screening=self._screening).bands():
            stain_logit[rows] = stain
            chemistry_prob[:, rows] = softmax(chemistry)
        stain_logit[~seen] = PAD_LOGIT
        return stain_logit, chemistry_prob

    def judged(self, canvas: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The confidence of every cell, before any threshold, and the dense map that it comes from.

        Args:
            canvas: uint8 (H, W, 3) RGB at 4 px/mm.

        Returns:
            confidence float32 (rows, cols) and stain_logit as of `logits`.

        Raises:
            LimitError, ValueError: as `logits`.
        """
        stain_logit, classes = self.logits(canvas)
        place = Calibration.from_scale(CANVAS_MM_PER_PX, (canvas.shape[1], canvas.shape[0]))
        height, width = stain_logit.shape
        glance = whole_canvas(canvas, place, self.info.levels[0]).patch(CANVAS_PX_PER_MM, (0, height), (0, width))
        head, verifier = self.info.cell_head, self.info.verifier
        return confidence(glance, stain_logit, lambda y, x: classes[:, y, x], head, verifier, 0.0), stain_logit

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


def _place(image: NDArray[np.uint8], mm_per_px: float | None, calibration: Calibration | None) -> Calibration:
    if calibration is not None and mm_per_px is None:
        return calibration
    if mm_per_px is not None and calibration is None:
        return Calibration.from_scale(mm_per_px, (image.shape[1], image.shape[0]))
    raise ValueError("give the picture's scale by mm_per_px or by calibration: exactly one of them")
