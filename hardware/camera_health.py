"""Can this camera still be believed? Light, dirt and blur against a reference; dark, glaring, frozen pictures at once.

The reference is taken when the rig is set up: a picture of a plain white or grey sheet that fills the view (light and
dirt), and one of something sharp that does not move, the calibration board for example (blur). The same two pictures
taken later are held against them. What a single picture can tell is asked of every picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from pathlib import Path
from typing import Final
from zipfile import BadZipFile

import cv2
import numpy as np
from numpy.typing import NDArray

from hardware.camera import Frame
from hardware.errors import RigError

_SIDE_PX: Final = 512
"""Sheets are compared at this width: dirt on a lens is never sharper."""
_LIGHT: Final = 0.15
"""The light may change by so much; more shifts what the network takes for a stain."""
_UNEVEN: Final = 0.12
_DIRT: Final = 0.04
_DIRT_SHARE: Final = 2e-4
_SHARPNESS: Final = 0.8
_GREY: Final = (60.0, 250.0)
_FROZEN: Final = 3


class Trouble(StrEnum):
    """What may be wrong with pictures."""

    DARK = "dark"
    GLARE = "glare"
    FROZEN = "frozen"
    LIGHT = "light"
    UNEVEN = "uneven"
    DIRT = "dirt"
    BLUR = "blur"


Troubles = tuple[tuple[Trouble, str], ...]


def at_once(pixels: NDArray[np.uint8]) -> Troubles:
    """What one picture tells, uint8 (h, w, 3): no light (95 % below 40 of 255), or glare (a third at full scale)."""
    step = max(1, min(pixels.shape[:2]) // 512)
    grey = np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels[::step, ::step]), cv2.COLOR_RGB2GRAY))
    if np.percentile(grey, 95) < 40:
        return ((Trouble.DARK, "the picture is dark: is the light on, is the lens cap off?"),)
    share = float((grey >= 254).mean())
    if share > 1 / 3:
        return ((Trouble.GLARE, f"{share:.0%} of the picture is at full scale: shorten exposure, dim the light"),)
    return ()


class FreezeWatch:
    """Notices a camera that sends one picture for ever: noise makes true pictures differ, if only by a bit."""

    def __init__(self) -> None:
        self._digest = b""
        self._number = -1
        self._same = 1

    def see(self, frame: Frame) -> Troubles:
        """Show it each frame; the third in a row of the same content is frozen."""
        if frame.number == self._number:
            return ()  # the same frame asked for again says nothing
        digest = blake2b(frame.pixels.tobytes(), digest_size=16).digest()
        self._same = self._same + 1 if digest == self._digest else 1
        self._digest, self._number = digest, frame.number
        if self._same < _FROZEN:
            return ()
        return ((Trouble.FROZEN, f"{self._same} pictures in a row are the same to the bit: restart the camera"),)


@dataclass(frozen=True, eq=False)
class Reference:
    """What the camera saw when it was good.

    Args:
        sheet: float32 (h, 512), grey levels of the plain sheet, reduced.
        sharpness: of the sharp thing, or None.
    """

    sheet: NDArray[np.float32]
    sharpness: float | None

    @classmethod
    def taken(cls, sheet: NDArray[np.uint8], sharp: NDArray[np.uint8] | None = None) -> Reference:
        """From pictures, uint8 (h, w, 3) RGB: of the plain sheet, and of something sharp.

        Raises:
            RigError: the sheet is too dark, clipped or not plain: it cannot be a reference.
        """
        reduced = _reduced(sheet)
        low, high = _GREY
        level = float(np.median(reduced))
        if not low <= level <= high:
            raise RigError(f"reference: the sheet is {level:.0f} of 255; allowed {low:g} to {high:g}: set the exposure")
        if _dark_spots(reduced / cv2.GaussianBlur(reduced, (0, 0), 40)) > 20 * _DIRT_SHARE:
            raise RigError("reference: the sheet is not plain: fill the view with white or grey paper, clean the lens")
        return cls(reduced, None if sharp is None else sharpness(sharp))

    def save(self, path: Path) -> None:
        """Write it, as numpy's .npz."""
        sharpness = math.nan if self.sharpness is None else self.sharpness
        with path.open("wb") as file:
            np.savez_compressed(file, sheet=self.sheet, sharpness=np.array(sharpness))

    @classmethod
    def load(cls, path: Path) -> Reference:
        """Read it.

        Raises:
            RigError: no such file, or no reference.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                sheet, sharpness = np.asarray(file["sheet"], dtype=np.float32), float(file["sharpness"])
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise RigError(f"reference {path}: {error}; take a new one") from None
        if sheet.ndim != 2 or sheet.shape[1] != _SIDE_PX or not (sheet > 0).all():
            raise RigError(f"reference {path}: it holds no sheet; take a new one")
        return cls(sheet, None if math.isnan(sharpness) else sharpness)

    def compare(self, sheet: NDArray[np.uint8], sharp: NDArray[np.uint8] | None = None) -> Troubles:
        """Hold the same pictures, taken now, against it.

        Raises:
            RigError: another shape of picture.
        """
        now = _reduced(sheet)
        if now.shape != self.sheet.shape:
            raise RigError("reference: taken with pictures of another shape; take a new one")
        return (*_light(now / self.sheet), *self._blur(sharp))

    def _blur(self, sharp: NDArray[np.uint8] | None) -> Troubles:
        if sharp is None or self.sharpness is None:
            return ()
        share = sharpness(sharp) / self.sharpness
        if share >= _SHARPNESS:
            return ()
        return ((Trouble.BLUR, f"edges are {share:.0%} as sharp as in the reference: focus, clean or calm it"),)


def sharpness(picture: NDArray[np.uint8]) -> float:
    """How much of the contrast is fine: gradient energy at 0.7 px against that at 3 px.

    A ratio, so brightness and contrast do not count; of one scene it falls with blur. A flat picture gives that of its
    noise, and is no scene to judge by.
    """
    grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), dtype=np.float32)
    fine, coarse = (_gradient(np.asarray(cv2.GaussianBlur(grey, (0, 0), sigma))) for sigma in (0.7, 3.0))
    return fine / max(coarse, 1e-9)


def _gradient(grey: NDArray[np.float32]) -> float:
    dx, dy = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    return float((dx * dx + dy * dy).mean())


def _reduced(sheet: NDArray[np.uint8]) -> NDArray[np.float32]:
    grey = cv2.cvtColor(sheet, cv2.COLOR_RGB2GRAY)
    size = (_SIDE_PX, max(1, round(grey.shape[0] * _SIDE_PX / grey.shape[1])))
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(small, (0, 0), 1.5), dtype=np.float32) + np.float32(1e-3)


def _light(ratio: NDArray[np.float32]) -> Troubles:
    """`ratio` (h, 512): the sheet now against the reference."""
    found: list[tuple[Trouble, str]] = []
    level = float(np.median(ratio))
    if not abs(level - 1) <= _LIGHT:
        found.append((Trouble.LIGHT, f"the light is {level:.0%} of the reference's: lamp, exposure, or daylight?"))
    smooth = np.asarray(cv2.GaussianBlur(ratio, (0, 0), 40), dtype=np.float32)
    spread = float(np.percentile(smooth, 99) - np.percentile(smooth, 1)) / max(level, 1e-6)
    if spread > _UNEVEN:
        found.append((Trouble.UNEVEN, f"the light's evenness changed by {spread:.0%}: did a lamp fail or move?"))
    share = _dark_spots(ratio / smooth)
    if share > _DIRT_SHARE:
        found.append((Trouble.DIRT, f"spots on {share:.2%} of the view that were not there: clean lens and sheet"))
    return tuple(found)


def _dark_spots(flat: NDArray[np.float32]) -> float:
    """Share of a picture that is darker than its surroundings by 4 % and more."""
    return float((flat < 1 - _DIRT).mean())
