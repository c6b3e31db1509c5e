"""GenICam cameras (GigE Vision, USB3 Vision) by Aravis 0.8, the system's own library.

Aravis is LGPL-2.1 and comes with the operating system (Debian: `apt-get install libaravis-0.8-0`). It is no dependency:
nothing of it is imported or loaded before somebody asks for a GenICam camera. It is called through its C interface, so
that no binding has to be built for the interpreter in use; the declarations below are from its reference manual.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import time
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from hardware.camera import CameraError, Lock

_BUFFERS: Final = 4
_WAIT_US: Final = 1_000_000
_SILENT: Final = 5
"""Waits without a picture after which the camera counts as lost."""
_SUCCESS: Final = 0
_AUTO_OFF: Final = 0
_CONTINUOUS: Final = 0
_MONO8: Final = 0x01080001
_RGB8: Final = 0x02180014
_TO_RGB: Final = {
    _MONO8: cv2.COLOR_GRAY2RGB,
    _RGB8: None,
    0x02180015: cv2.COLOR_BGR2RGB,
    0x01080008: cv2.COLOR_BayerGRBG2RGB,
    0x01080009: cv2.COLOR_BayerRGGB2RGB,
    0x0108000A: cv2.COLOR_BayerGBRG2RGB,
    0x0108000B: cv2.COLOR_BayerBGGR2RGB,
}
"""Pixel formats (GenICam PFNC) that we read, and OpenCV's conversion."""
_PREFERRED: Final = ("RGB8", "BGR8", "BayerRG8", "BayerGR8", "BayerGB8", "BayerBG8", "Mono8")

_P, _U, _D, _I, _Q = ctypes.c_void_p, ctypes.c_uint, ctypes.c_double, ctypes.c_int, ctypes.c_uint64
_FUNCTIONS: Final[dict[str, tuple[Any, list[Any]]]] = {
    "arv_camera_new": (_P, [ctypes.c_char_p, _P]),
    "arv_camera_create_stream": (_P, [_P, _P, _P, _P]),
    "arv_camera_get_payload": (_U, [_P, _P]),
    "arv_camera_set_acquisition_mode": (None, [_P, _I, _P]),
    "arv_camera_start_acquisition": (None, [_P, _P]),
    "arv_camera_stop_acquisition": (None, [_P, _P]),
    "arv_camera_dup_available_pixel_formats_as_strings": (ctypes.POINTER(ctypes.c_char_p), [_P, _P, _P]),
    "arv_camera_set_pixel_format_from_string": (None, [_P, ctypes.c_char_p, _P]),
    "arv_camera_is_exposure_auto_available": (_I, [_P, _P]),
    "arv_camera_set_exposure_time_auto": (None, [_P, _I, _P]),
    "arv_camera_set_exposure_time": (None, [_P, _D, _P]),
    "arv_camera_get_exposure_time": (_D, [_P, _P]),
    "arv_buffer_new": (_P, [ctypes.c_size_t, _P]),
    "arv_buffer_get_status": (_I, [_P]),
    "arv_buffer_get_data": (_P, [_P, _P]),
    "arv_buffer_get_image_width": (_I, [_P]),
    "arv_buffer_get_image_height": (_I, [_P]),
    "arv_buffer_get_image_pixel_format": (ctypes.c_uint32, [_P]),
    "arv_stream_push_buffer": (None, [_P, _P]),
    "arv_stream_timeout_pop_buffer": (_P, [_P, _Q]),
    "g_object_unref": (None, [_P]),
    "g_error_free": (None, [_P]),
    "g_free": (None, [_P]),
}


class _GError(ctypes.Structure):
    _fields_ = (("domain", ctypes.c_uint32), ("code", ctypes.c_int), ("message", ctypes.c_char_p))


@cache
def _library() -> ctypes.CDLL:
    """Aravis, its functions declared (GLib's come along with it).

    Raises:
        CameraError: it is not installed.
    """
    found = ctypes.util.find_library("aravis-0.8")
    try:
        if found is None:
            raise OSError("not found")
        library = ctypes.CDLL(found)
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise CameraError(
            f"camera genicam: the library Aravis 0.8 is not installed or not whole ({error}): "
            f"apt-get install libaravis-0.8-0"
        ) from None
    return library


class GenicamSource:
    """See `hardware.camera.Source`.

    Args:
        camera: Aravis's name, the serial number, or the IP address; None = the first one found.
        lock: exposure only; industrial lenses are focused by hand, and white balance is the light's.
    """

    def __init__(self, camera: str | None, lock: Lock, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = f"genicam:{camera or ''}"
        self._wanted, self._lock, self._clock = camera, lock, clock
        self._camera: int | None = None
        self._stream: int | None = None
        self._silent = 0

    def open(self) -> None:
        """See `Source`."""
        if self._lock.focus is not None or self._lock.white_balance_k is not None:
            raise CameraError(f"camera {self.name}: only its exposure can be locked; focus is on the lens")
        library = _library()
        wanted = None if self._wanted is None else self._wanted.encode()
        self._camera = self._call("arv_camera_new", wanted)
        if not self._camera:
            raise CameraError(f"camera {self.name}: none answers; is it powered, and in this network?")
        self._choose_format()
        self._hold_exposure()
        self._call("arv_camera_set_acquisition_mode", self._camera, _CONTINUOUS)
        payload = self._call("arv_camera_get_payload", self._camera)
        self._stream = self._call("arv_camera_create_stream", self._camera, None, None)
        if not self._stream:
            raise CameraError(f"camera {self.name}: it gives no stream; does another program hold it?")
        for _ in range(_BUFFERS):
            library.arv_stream_push_buffer(self._stream, library.arv_buffer_new(payload, None))
        self._silent = 0
        self._call("arv_camera_start_acquisition", self._camera)

    def read(self) -> tuple[NDArray[np.uint8], float] | None:
        """See `Source`. The time is that before the wait. A picture that lost packets on its way is left out."""
        library = _library()
        before = self._clock()
        buffer = library.arv_stream_timeout_pop_buffer(self._stream, _WAIT_US)
        if not buffer:
            self._silent += 1
            if self._silent >= _SILENT:
                raise CameraError(f"camera {self.name}: it stopped sending; is it powered, is the network up?")
            return None
        try:
            if library.arv_buffer_get_status(buffer) != _SUCCESS:
                return None
            self._silent = 0
            return self._pixels(library, buffer), before
        finally:
            library.arv_stream_push_buffer(self._stream, buffer)

    def close(self) -> None:
        """See `Source`."""
        if self._camera is not None and self._stream is not None:
            _library().arv_camera_stop_acquisition(self._camera, None)
        for thing in (self._stream, self._camera):
            if thing is not None:
                _library().g_object_unref(thing)
        self._stream = self._camera = None

    def _pixels(self, library: ctypes.CDLL, buffer: int) -> NDArray[np.uint8]:
        """A buffer's picture, uint8 (h, w, 3) RGB, copied: the buffer is used again."""
        width, height = library.arv_buffer_get_image_width(buffer), library.arv_buffer_get_image_height(buffer)
        kind = library.arv_buffer_get_image_pixel_format(buffer)
        if kind not in _TO_RGB:
            raise CameraError(f"camera {self.name}: pixel format {kind:#010x} is not read; set one of {_PREFERRED}")
        channels = 3 if kind >> 24 == 2 else 1  # PFNC: 2 = several components a pixel
        size = ctypes.c_size_t()
        data = library.arv_buffer_get_data(buffer, ctypes.byref(size))
        if size.value < width * height * channels:
            raise CameraError(f"camera {self.name}: a picture of {size.value} bytes is too short for its size")
        raw = np.frombuffer((ctypes.c_uint8 * (width * height * channels)).from_address(data), dtype=np.uint8)
        shaped = raw.reshape(height, width, 3) if channels == 3 else raw.reshape(height, width)
        code = _TO_RGB[kind]
        return shaped.copy() if code is None else np.asarray(cv2.cvtColor(shaped, code), dtype=np.uint8)

    def _choose_format(self) -> None:
        """Colour before grey, of what the camera has and we read."""
        count = ctypes.c_uint()
        names = self._call("arv_camera_dup_available_pixel_formats_as_strings", self._camera, ctypes.byref(count))
        offered = {(names[n] or b"").decode() for n in range(count.value)} if names else set()
        _library().g_free(names)
        for name in _PREFERRED:
            if name in offered:
                self._call("arv_camera_set_pixel_format_from_string", self._camera, name.encode())
                return
        raise CameraError(f"camera {self.name}: it offers {', '.join(sorted(offered))}; none of {_PREFERRED}")

    def _hold_exposure(self) -> None:
        wanted = self._lock.exposure_us
        if wanted is None:
            return
        if self._call("arv_camera_is_exposure_auto_available", self._camera):
            self._call("arv_camera_set_exposure_time_auto", self._camera, _AUTO_OFF)
        self._call("arv_camera_set_exposure_time", self._camera, wanted)
        held = self._call("arv_camera_get_exposure_time", self._camera)
        if not abs(held - wanted) <= 0.02 * wanted + 50:
            raise CameraError(f"camera {self.name}: its exposure cannot be locked (asked {wanted:g} µs, has {held:g})")

    def _call(self, name: str, *arguments: Any) -> Any:
        """Call a function whose last argument is a GError**, and raise what it says."""
        error = ctypes.POINTER(_GError)()
        result = getattr(_library(), name)(*arguments, ctypes.byref(error))
        if error:
            message = (error.contents.message or b"").decode(errors="replace")
            _library().g_error_free(error)
            raise CameraError(f"camera {self.name}: {message or 'Aravis gives no reason'}")
        return result
