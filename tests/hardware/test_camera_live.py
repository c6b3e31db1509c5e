"""Cameras over real sockets: MJPEG from a small HTTP server, RTSP from GStreamer's, GigE Vision from Aravis's."""

from __future__ import annotations

import ctypes.util
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hardware.camera import CameraError, LiveCamera, Lock, open_camera
from hardware.camera_genicam import GenicamSource
from hardware.camera_opencv import StreamSource

PATIENCE_S = 90.0


def jpeg(level: int) -> bytes:
    good, data = cv2.imencode(".jpg", np.full((48, 64, 3), level, dtype=np.uint8))
    assert good
    return data.tobytes()


class Mjpeg(BaseHTTPRequestHandler):
    """One picture after another, brighter by one each; the server's `live` says whether it still sends."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
        self.end_headers()
        level = 0
        try:
            while self.server.live.is_set():  # type: ignore[attr-defined]
                data = jpeg(level % 200)
                head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                self.wfile.write(head.encode() + data + b"\r\n")
                level += 1
                time.sleep(0.02)
        except OSError:  # the camera was closed
            pass

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def mjpeg(port: int = 0) -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", port), Mjpeg)
    server.live = threading.Event()  # type: ignore[attr-defined]
    server.live.set()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.live.clear()  # type: ignore[attr-defined]
        server.shutdown()
        server.server_close()
        thread.join()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_an_http_stream_is_read_lost_and_found_again() -> None:
    port = free_port()
    source = StreamSource(f"http://li:secret@127.0.0.1:{port}/x.mjpg", timeout_ms=3000)
    with LiveCamera(source, back_off_s=(0.05, 0.2)) as camera:
        with pytest.raises(CameraError, match=f"camera http://127.0.0.1:{port}/x.mjpg: no picture within"):
            camera.frame(within_s=0.2)
        with mjpeg(port):
            first = camera.frame(within_s=PATIENCE_S)
            assert first.pixels.shape == (48, 64, 3)
            later = camera.frame(after_s=first.captured_s + 0.3, within_s=PATIENCE_S)
            assert later.pixels.mean() > first.pixels.mean() + 3
            assert time.monotonic() - later.captured_s < PATIENCE_S / 10
        gone = time.monotonic() + 0.2
        with pytest.raises(CameraError, match="no picture within"):
            camera.frame(after_s=gone, within_s=1.0)
        with mjpeg(port):
            assert camera.frame(after_s=gone, within_s=PATIENCE_S).number > later.number
        assert camera.state.reconnects >= 1


def test_a_consumer_that_sleeps_gets_the_newest_picture_not_the_oldest() -> None:
    """The complaint of every live-stream tool: minutes late. Here 60 pictures pass by unseen, and none is owed."""
    with mjpeg() as server, LiveCamera(StreamSource(f"http://127.0.0.1:{server.server_port}/x.mjpg")) as camera:
        camera.frame(within_s=PATIENCE_S)
        for _ in range(3):
            asleep = time.monotonic()
            time.sleep(0.4)
            frame = camera.frame(within_s=PATIENCE_S)
            assert frame.captured_s > asleep
        assert camera.state.dropped > 10


# --- RTSP -------------------------------------------------------------------------------------------------------------

RTSP_PYTHON = Path("/usr/bin/python3")
RTSP_SERVER = """
import sys
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch("( videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=20/1 ! "
                   + sys.argv[2] + " )")
factory.set_shared(True)
server.get_mount_points().add_factory("/cam", factory)
server.attach(None)
print("ready", flush=True)
GLib.MainLoop().run()
"""
"""Run by Debian's own Python, which has GStreamer's bindings; a real RTSP server, not ours."""
ENCODER = "x264enc tune=zerolatency key-int-max=10 bitrate=500 ! rtph264pay name=pay0 pt=96 config-interval=1"


@contextmanager
def rtsp(port: int) -> Iterator[None]:
    command = [str(RTSP_PYTHON), "-c", RTSP_SERVER, str(port), ENCODER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            if server.stdout.readline().strip() != "ready":
                assert server.stderr is not None
                pytest.fail(f"the RTSP server did not start: {server.stderr.read()[-500:]}")
            yield
        finally:
            server.kill()


def need_rtsp() -> None:
    code = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    if (
        not RTSP_PYTHON.exists()
        or subprocess.run([RTSP_PYTHON, "-c", code], capture_output=True, check=False).returncode
    ):
        pytest.skip(
            "needs GStreamer's RTSP server: apt-get install python3-gi gir1.2-gst-rtsp-server-1.0 "
            "gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly"
        )


@pytest.mark.e2e
def test_an_rtsp_stream_is_read_lost_and_found_again() -> None:
    need_rtsp()
    port = free_port()
    source = StreamSource(f"rtsp://127.0.0.1:{port}/cam", timeout_ms=3000)
    with LiveCamera(source, back_off_s=(0.1, 0.5)) as camera:
        with rtsp(port):
            first = camera.frame(within_s=PATIENCE_S)
            assert first.pixels.shape == (240, 320, 3)
            later = camera.frame(after_s=first.captured_s + 0.5, within_s=PATIENCE_S)
            assert (later.pixels != first.pixels).any(), "the ball does not move"
            assert camera.state.dropped > 0
        gone = time.monotonic() + 1.0
        with pytest.raises(CameraError):
            camera.frame(after_s=gone, within_s=3.0)
        with rtsp(port):
            assert camera.frame(after_s=gone, within_s=PATIENCE_S).number > later.number
        assert camera.state.reconnects >= 1


# --- GenICam ----------------------------------------------------------------------------------------------------------


@contextmanager
def fake_camera() -> Iterator[None]:
    command = ["arv-fake-gv-camera-0.8", "-i", "127.0.0.1", "-s", "GV01"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as camera:
        try:
            yield
        finally:
            camera.kill()


def need_aravis() -> None:
    if shutil.which("arv-fake-gv-camera-0.8") is None or ctypes.util.find_library("aravis-0.8") is None:
        pytest.skip("needs Aravis and its fake camera: apt-get install libaravis-0.8-0 aravis-tools")


@pytest.mark.e2e
def test_a_gige_vision_camera_is_read_lost_and_found_again() -> None:
    need_aravis()
    source = GenicamSource("127.0.0.1", Lock(exposure_us=20_000))
    with LiveCamera(source, back_off_s=(0.1, 0.5)) as camera:
        with fake_camera():
            first = camera.frame(within_s=PATIENCE_S)
            assert first.pixels.shape == (512, 512, 3)
            assert first.pixels.std() > 10
            later = camera.frame(after_s=first.captured_s + 0.3, within_s=PATIENCE_S)
            assert (later.pixels != first.pixels).any()
        gone = time.monotonic()
        with pytest.raises(CameraError, match="no picture within"):
            camera.frame(after_s=gone + 1, within_s=8.0)
        assert camera.state.error is not None
        with fake_camera():
            assert camera.frame(after_s=gone + 1, within_s=PATIENCE_S).number > later.number


class Deaf(GenicamSource):
    """A camera that takes an exposure time without a word and keeps its own."""

    def _call(self, name: str, *arguments: Any) -> Any:
        return 5000.0 if name == "arv_camera_get_exposure_time" else super()._call(name, *arguments)


@pytest.mark.e2e
def test_gige_vision_cameras_that_cannot_do_it_are_told() -> None:
    need_aravis()
    with open_camera("genicam:nobody") as camera, pytest.raises(CameraError, match="'nobody' not found"):
        camera.frame(within_s=5.0)
    deaf = Deaf("127.0.0.1", Lock(exposure_us=20_000))
    with fake_camera(), pytest.raises(CameraError, match=r"its exposure cannot be locked \(asked 20000 µs, has 5000"):
        deaf.open()
    deaf.close()


def test_focus_of_an_industrial_lens_is_not_ours() -> None:
    with pytest.raises(CameraError, match="focus is on the lens"):
        GenicamSource(None, Lock(focus=1.0)).open()


def said(code: str) -> str:
    """What a fresh interpreter prints."""
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, timeout=120, check=True).stdout


def test_without_aravis_the_way_to_it_is_told() -> None:
    code = (
        "import ctypes.util\nctypes.util.find_library = lambda name: None\n"
        "from hardware.camera import open_camera\n"
        "with open_camera('genicam:') as camera:\n"
        "    try:\n        camera.frame(within_s=1)\n"
        "    except Exception as error:\n        print(error)\n"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=120, check=True
    )
    assert "apt-get install libaravis-0.8-0" in done.stdout


def test_nothing_of_it_is_loaded_unless_asked_for() -> None:
    code = (
        "from hardware.camera import open_camera\nimport hardware.camera_genicam\n"
        "assert 'aravis' not in open('/proc/self/maps').read()\nprint('clean')\n"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() == "clean"
