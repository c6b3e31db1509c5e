"""The engine: bounds, deadlines, hot swaps under load, memory."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

from benchmarks.service.campaigning import rss_kib
from benchmarks.service.swaps import LIMIT_KIB, swap_under_load, two_networks
from inference_service.engine import DetectRequest, Engine
from inference_service.errors import ServiceError
from inference_service.metrics import Metrics
from model.detector import Detector
from model.picture import read_picture
from model.providers import OPENVINO
from tests.inference_service.kit import Served, Slow, in_a_process_of_its_own, picture, settings, with_service
from tests.model.toy_onnx import write_toy

REQUEST = DetectRequest(picture(), mm_per_px=0.5)


def slug(caught: pytest.ExceptionInfo[ServiceError]) -> str:
    return caught.value.kind.slug


def test_the_engines_map_is_the_detectors(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        request = DetectRequest(picture(), mm_per_px=0.5, threshold=0.4, source="coat.png", garment_id="T", age_ms=7)
        found = (await served.service.engine.detect(request)).to_json()
        with served.service.engine.lease() as detector:
            image = read_picture(picture())
            own = detector.detect(image, mm_per_px=0.5, threshold=0.4, source="coat.png", garment_id="T").to_json()
        assert found["age_ms"] >= 7
        same = set(own) - {"id", "age_ms"}
        assert {name: found[name] for name in same} == {name: own[name] for name in same}
        assert "spotgrid_maps_total 1.0" in served.service.metrics.text().decode()

    with_service(tmp_path, steps)


WRONG = [
    (DetectRequest(picture()), "bad-request"),
    (DetectRequest(picture(), mm_per_px=0.5, calibration_id="x"), "bad-request"),
    (DetectRequest(picture(), calibration_id="x"), "not-found"),
    (DetectRequest(picture(), mm_per_px=50), "bad-request"),
    (DetectRequest(picture(), mm_per_px=0.5, threshold=2), "bad-request"),
    (DetectRequest(picture(), mm_per_px=0.5, preset="bold"), "bad-request"),
    (DetectRequest(picture(), mm_per_px=0.5, model="other"), "not-found"),
    (DetectRequest(picture()[:-300], mm_per_px=0.5), "bad-picture"),
    (DetectRequest(b"GIF89a", mm_per_px=0.5), "bad-picture"),
    (DetectRequest(b"", mm_per_px=0.5), "bad-picture"),
    (DetectRequest(picture(width=1000, height=999), mm_per_px=0.5), "too-large"),
    (DetectRequest(bytes(20_000), mm_per_px=0.5), "too-large"),
    (DetectRequest(picture(), mm_per_px=0.5, deadline=time.monotonic() - 1), "deadline"),
]


def test_what_is_wrong_has_its_kind_of_refusal(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        for request_, wanted in WRONG:
            with pytest.raises(ServiceError) as caught:
                await served.service.engine.detect(request_)
            assert slug(caught) == wanted, caught.value.detail
            await served.service.engine.detect(REQUEST)  # and nothing is broken afterwards

    with_service(tmp_path, steps, max_pixels=900_000, max_body_bytes=19_000)


def test_before_it_is_warm_and_after_the_stop_it_refuses(tmp_path: Path) -> None:
    async def steps() -> None:
        engine = Engine(settings(tmp_path), Metrics())
        with pytest.raises(ServiceError, match="not ready") as caught:
            await engine.detect(REQUEST)
        assert slug(caught) == "unavailable"
        await engine.start()
        await engine.started()
        assert engine.ready
        await engine.detect(REQUEST)
        await engine.stop(1)
        with pytest.raises(ServiceError, match="stopping") as caught:
            await engine.detect(REQUEST)
        assert slug(caught) == "unavailable"
        assert (engine.ready, engine.not_ready_because) == (False, "the service is stopping")

    asyncio.run(steps())


def test_a_start_that_fails_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference_service.engine._AGAIN_S", 0.01)

    async def steps() -> None:
        bad = write_toy(tmp_path / "net.onnx", stain_gain=0.0)
        engine = Engine(settings(tmp_path, model_path=bad), Metrics())
        await engine.start()
        while "golden picture" not in engine.not_ready_because:
            await asyncio.sleep(0.01)
        write_toy(bad)
        await engine.started()
        assert engine.ready
        await engine.stop(1)

    asyncio.run(asyncio.wait_for(steps(), 120))


def test_overload_is_answered_at_once_and_what_was_accepted_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def steps(served: Served) -> None:
        slow, engine = Slow(monkeypatch), served.service.engine
        calls = [asyncio.create_task(engine.detect(REQUEST)) for _ in range(12)]
        await slow.wait_started()
        while sum(call.done() for call in calls) < 8:
            await asyncio.sleep(0.01)
        refused = [call.exception() for call in calls if call.done()]
        assert all(isinstance(error, ServiceError) and error.kind.slug == "overloaded" for error in refused)
        assert len(refused) == 8, "one works, three wait"
        slow.go.set()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(not isinstance(result, ServiceError) for result in results) == 4

    with_service(tmp_path, steps, queue_size=3)


def test_a_deadline_in_the_queue_starts_no_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(served: Served) -> None:
        slow, engine = Slow(monkeypatch), served.service.engine
        first = asyncio.create_task(engine.detect(REQUEST))
        await slow.wait_started()
        late = DetectRequest(picture(), mm_per_px=0.5, deadline=time.monotonic() + 0.05)
        with pytest.raises(ServiceError, match="before the work was started"):
            await engine.detect(late)
        slow.go.set()
        await first
        assert not slow.started.acquire(blocking=False), "the late one was never begun"

    with_service(tmp_path, steps)


def test_a_piece_of_work_keeps_the_network_that_it_began_with(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    write_toy(tmp_path / "models" / "two.onnx", settings={"version": "0.0.2"})

    async def steps(served: Served) -> None:
        engine, go, began = served.service.engine, threading.Event(), threading.Event()

        def work(detector: Detector) -> str:
            began.set()
            assert go.wait(60)
            return detector.detect_canvas(read_picture(picture())).model

        task = asyncio.create_task(engine.run(work))
        assert await asyncio.to_thread(began.wait, 60)
        await asyncio.to_thread(engine.models.load, "two")
        assert (await asyncio.to_thread(lambda: engine.models.current.info.version)) == "0.0.2"
        go.set()
        assert (await task).startswith("toy@0.0.1")
        assert (await engine.run(lambda detector: detector.info.version)) == "0.0.2"
        assert (await engine.run(lambda detector: detector.info.version, model="toy@0.0.1")) == "0.0.1"

    with_service(tmp_path, steps, models_dir=tmp_path / "models")


def test_networks_are_run_by_what_the_settings_say(tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="needs `pip install 'spotgrid[openvino]'`")
    opened: list[Detector] = []

    async def steps(served: Served) -> None:
        assert (await served.detect()).status_code == 200
        with served.service.engine.lease() as detector:
            opened.append(detector)

    with_service(tmp_path, steps, providers=(OPENVINO,))
    assert [detector.providers for detector in opened] == [(OPENVINO,)]


def test_no_request_fails_while_networks_are_swapped(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        found = await swap_under_load(served, 2)
        assert found.failed == []
        assert found.models.total() > 2
        assert len(found.models) == 3, "the first one, and both that took over"
        assert [version.leases for version in served.service.engine.models.versions()] == [0, 0, 0]

    with_service(tmp_path, steps, models_dir=two_networks(tmp_path))


def test_a_load_that_fails_under_load_ends_the_swaps(tmp_path: Path) -> None:
    """Callers that are refused at once must not keep the event loop for themselves."""

    async def steps(served: Served) -> None:
        (tmp_path / "models" / "two.onnx").write_bytes(b"no network")
        with pytest.raises(RuntimeError, match="two was not loaded: 503"):
            await swap_under_load(served, 1)
        served.service.engine.models.stop()
        with pytest.raises(RuntimeError, match="was not loaded"):
            await asyncio.wait_for(swap_under_load(served, 1), 60)

    with_service(tmp_path, steps, models_dir=two_networks(tmp_path))


@pytest.mark.slow
def test_swap_upon_swap_under_load_fail_nothing_and_leak_nothing() -> None:
    """`python -m benchmarks.service.swaps` does 100."""
    if not rss_kib():
        pytest.skip("needs /proc to read the process's memory: run it on Linux")
    found = in_a_process_of_its_own("benchmarks.service.swaps", "--swaps", "30")
    assert (found["swaps"], found["failed"], found["leases_left"]) == (30, [], 0)
    assert found["memory_kib_per_swap"] < 3 * LIMIT_KIB, "30 hardly fill up what must; a kept network is 660"
