"""A scan that is cut is the scan that was not cut: same map, each strip once, and nothing is dropped under load."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from benchmarks.service.cuts import Cut, ledger_wrong, through_streams, uncut
from inference_service import wire
from inference_service.proto.spotgrid.v1 import stain_detection_pb2 as pb
from inference_service.proto.spotgrid.v1 import stain_map_pb2 as map_pb
from inference_service.rpc import scans as scans_module
from model.scan import Scan
from tests.inference_service.kit import Slow
from tests.inference_service.rpc.calls import Called, calling, detect_request, hold, png, scale, trailers_of, with_calls
from tests.inference_service.rpc.strips import (
    IMAGE,
    STRIP,
    STRIPS,
    answers,
    bare,
    finish,
    kept,
    send_all,
    send_from,
    start,
    strip,
    whole,
)
from tests.model.toy_onnx import metadata, write_toy


async def refusal(called: Called, *requests: pb.ScanRequest, key: str = "detect") -> grpc.aio.AioRpcError:
    stream = called.stub.Scan(metadata=called.auth(key))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await send_all(stream, requests)
    return refused.value


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.01)


def test_a_scan_says_what_detect_says_of_the_whole_picture(tmp_path: Path) -> None:
    async def steps(called: Called) -> None:
        ready, *results, done = await whole(called)
        assert (ready.ready.next_strip, ready.ready.resumed) == (0, False)
        assert [answer.result.strip for answer in results] == list(range(len(STRIPS)))
        with called.service.engine.lease() as detector:
            want = detector.detect(IMAGE, mm_per_px=0.5, garment_id="G1").to_json()
        found = wire.document_from_wire(done.done.stain_map)
        assert bare(done.done.stain_map) == {name: want[name] for name in bare(done.done.stain_map)}
        streamed = [cell for answer in results for cell in answer.result.cells] + list(done.done.cells)
        cells = sorted(wire.cells_from_wire(streamed), key=lambda cell: (cell["row"], cell["col"]))
        assert len(cells) >= 9
        assert cells == found["cells"]
        assert called.service.ledger.map_json(found["id"]) == found
        assert len(kept(called)) == len(STRIPS)

    with_calls(tmp_path, steps)


def test_cells_come_back_while_strips_are_still_being_sent(tmp_path: Path) -> None:
    async def steps(called: Called) -> None:
        stream = called.stub.Scan(metadata=called.auth())
        await stream.write(start())
        assert (await stream.read()).HasField("ready")
        early = 0
        for index in range(len(STRIPS)):
            await stream.write(strip(index))
            answer = await stream.read()  # the next strip is sent only after this
            assert answer.result.strip == index
            early += len(answer.result.cells)
        assert early > 0
        stream.cancel()

    with_calls(tmp_path, steps)


def test_a_scan_with_cuts_is_the_scan_without(tmp_path: Path) -> None:
    """Streams are cut on purpose here; `tests/inference_service/client` cuts the connection below them."""

    async def steps(called: Called) -> None:
        found = await through_streams(called, 8)
        assert (found.cuts, found.wrong) == (8, [])
        assert ledger_wrong(called, found.scans) == []

    with_calls(tmp_path, steps)


def test_a_strip_that_is_there_twice_or_missing_is_found(tmp_path: Path) -> None:
    """The campaign can fail."""

    async def steps(called: Called) -> None:
        await whole(called)
        assert ledger_wrong(called, 1) == []
        assert len(ledger_wrong(called, 2)) == 2
        found, want = Cut(), uncut(called)
        found.judge([0, 0], [], {**want, "threshold": 0.1}, want)
        assert len(found.wrong) == 3

    with_calls(tmp_path, steps)


def test_after_a_restart_a_scan_is_sent_anew_and_nothing_is_doubled(tmp_path: Path) -> None:
    async def steps() -> None:
        async with calling(tmp_path) as called:
            key = called.auth()
            stream = called.stub.Scan(metadata=key)
            for request in (start(), strip(0), strip(1)):
                await stream.write(request)
            for _ in range(3):
                await stream.read()
        async with calling(tmp_path) as called:
            first = await again(called, key)
        async with calling(tmp_path) as called:
            second = await again(called, key)
            assert first == second  # the map that the first one put into the ledger, its id too
            assert len(kept(called)) == len(STRIPS)
            assert len(called.service.ledger.maps()) == 1

    async def again(called: Called, key: Any) -> map_pb.StainMap:
        stream = called.stub.Scan(metadata=key)
        await stream.write(start(received=2))
        ready = (await stream.read()).ready
        assert (ready.resumed, ready.next_strip) == (False, 0)
        await send_from(stream, 0)
        return [answer async for answer in answers(stream)][-1].done.stain_map

    asyncio.run(steps())


def test_a_lost_last_answer_is_given_again(tmp_path: Path) -> None:
    async def steps(called: Called) -> None:
        want = (await whole(called))[-1]
        stream = called.stub.Scan(metadata=called.auth())
        await stream.write(start(received=len(STRIPS) - 1))
        await stream.done_writing()
        ready, *rest = [answer async for answer in answers(stream)]
        assert (ready.ready.resumed, ready.ready.next_strip) == (True, len(STRIPS))
        assert [answer.WhichOneof("message") for answer in rest] == ["result", "done"]
        assert rest[-1] == want

    with_calls(tmp_path, steps)


def test_who_comes_back_for_the_end_may_finish_once_more(tmp_path: Path) -> None:
    """A stream that ended while the caller writes would lose it the answer (grpc.aio: "Internal error from Core")."""

    async def steps(called: Called) -> None:
        await whole(called)
        stream = called.stub.Scan(metadata=called.auth())
        await stream.write(start(received=len(STRIPS)))
        assert [(await stream.read()).WhichOneof("message") for _ in range(2)] == ["ready", "done"]
        await asyncio.sleep(0.1)
        await stream.write(finish())
        assert [answer async for answer in answers(stream)] == []
        assert (await stream.code()).name == "OK"

    with_calls(tmp_path, steps)


def test_what_is_out_of_order_is_refused_and_the_scan_goes_on(tmp_path: Path) -> None:
    narrow = png(IMAGE[:STRIP, :80])
    wrong: list[tuple[list[pb.ScanRequest], str, str]] = [
        ([strip(0)], "bad-request", "start"),
        ([pb.ScanRequest()], "bad-request", "start"),
        ([start("short")], "bad-request", "scan_id"),
        ([start("scan/0001")], "bad-request", "scan_id"),
        ([start(preset="no")], "bad-request", "preset"),
        ([start(model="no")], "not-found", "no"),
        ([pb.ScanRequest(start=pb.ScanStart(scan_id="scan-0009", width_px=160))], "bad-request", "mm_per_px"),
        ([pb.ScanRequest(start=pb.ScanStart(scan_id="scan-0009", settings=scale()))], "bad-request", "width_px"),
        ([start(), strip(1)], "bad-request", "strip 0 is wanted next"),
        ([start(), strip(0, b"x")], "bad-picture", "JPEG"),
        ([start(), strip(0, narrow)], "bad-request", "px wide"),
        ([start(), start()], "bad-request", "after the start"),
        ([start(), finish(0)], "bad-request", "at least one"),
        ([start(received=3)], "bad-request", "results_received"),
        ([start(garment_id="G2")], "conflict", "other settings"),
    ]

    async def steps(called: Called) -> None:
        for requests, slug, told in wrong:
            error = await refusal(called, *requests)
            assert (trailers_of(error).get("spotgrid-error"), told in str(error.details())) == (slug, True), error
        assert len(await whole(called)) == len(STRIPS) + 2  # none of it has harmed the scan
        other = called.service.keys.create(["detect"])[1]
        called.keys["other"] = other
        assert trailers_of(await refusal(called, start(), key="other"))["spotgrid-error"] == "conflict"

    with_calls(tmp_path, steps)


def test_other_pixels_under_a_known_index_are_refused(tmp_path: Path) -> None:
    async def steps() -> None:
        async with calling(tmp_path) as called:
            key = called.keys["detect"]
            assert len(await whole(called)) == len(STRIPS) + 2
        async with calling(tmp_path) as called:
            called.keys["detect"] = key
            error = await refusal(called, start(), strip(0, STRIPS[1]))
            assert trailers_of(error)["spotgrid-error"] == "conflict"
            assert len(await whole(called)) == len(STRIPS) + 2  # the right pixels still go

    asyncio.run(steps())


def test_a_newer_stream_takes_the_scan_over(tmp_path: Path) -> None:
    async def steps(called: Called) -> None:
        old, new = (called.stub.Scan(metadata=called.auth()) for _ in range(2))
        for request in (start(), strip(0)):
            await old.write(request)
        assert [(await old.read()).WhichOneof("message") for _ in range(2)] == ["ready", "result"]
        await new.write(start(received=1))
        assert (await new.read()).ready.next_strip == 1
        await old.write(strip(1))
        with pytest.raises(grpc.aio.AioRpcError, match="another stream"):
            await old.read()
        await send_from(new, 1)
        assert [answer async for answer in answers(new)][-1].HasField("done")

    with_calls(tmp_path, steps)


def test_a_full_queue_holds_a_scan_back_and_drops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(monkeypatch)
    slow.go.set()

    async def steps(called: Called) -> None:
        hold(slow)
        blocking = asyncio.ensure_future(called.stub.Detect(detect_request(), metadata=called.auth()))
        await slow.wait_started()
        scanning = asyncio.create_task(whole(called))
        await asyncio.sleep(0.3)
        assert not scanning.done()
        assert kept(called) == []
        slow.go.set()
        assert len(await scanning) == len(STRIPS) + 2
        assert (await blocking).stain_map.cells

    with_calls(tmp_path, steps, queue_size=0, workers=1)


def test_a_strip_may_take_longer_than_a_picture_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Scan.push

    naps = [0.3]

    def slowly(scan: Scan, pixels: Any) -> Any:
        time.sleep(naps.pop() if naps else 0)
        return real(scan, pixels)

    async def steps(called: Called) -> None:
        monkeypatch.setattr(Scan, "push", slowly)
        assert len(await whole(called)) == len(STRIPS) + 2

    with_calls(tmp_path, steps, timeout_s=0.1)


@pytest.mark.slow
def test_scans_that_nobody_comes_back_for_are_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scans_module, "KEPT_PER_KEY", 2)
    monkeypatch.setattr(scans_module, "KEEP_S", 1.5)

    async def left(called: Called, scan_id: str) -> None:
        stream = called.stub.Scan(metadata=called.auth())
        for request in (start(scan_id), strip(0)):
            await stream.write(request)
        await stream.read()
        await stream.read()
        stream.cancel()

    async def steps(called: Called) -> None:
        sessions = called.server._detection.scans._sessions
        for n in range(4):
            await left(called, f"scan-000{n}")
            await until(lambda n=n: not sessions[f"scan-000{n}"].held)  # type: ignore[misc]
            assert len(sessions) == min(n + 1, 2)
        await until(lambda: not sessions)

    with_calls(tmp_path, steps)


def test_a_scan_that_was_let_go_leaves_memory_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The timer that would have let it go later held on to its pixels; many scans that are cut are many of them."""
    monkeypatch.setattr(scans_module, "KEPT_PER_KEY", 0)

    async def steps(called: Called) -> None:
        sessions = called.server._detection.scans._sessions
        stream = called.stub.Scan(metadata=called.auth())
        for request in (start(), strip(0)):
            await stream.write(request)
        assert [(await stream.read()).WhichOneof("message") for _ in range(2)] == ["ready", "result"]
        scan = weakref.ref(sessions["scan-0001"].scan)
        stream.cancel()
        await until(lambda: not sessions)
        await until(lambda: gc.collect() >= 0 and scan() is None)
        assert scan() is None

    with_calls(tmp_path, steps)


def test_a_scan_keeps_its_network_while_others_are_loaded(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    write_toy(tmp_path / "models" / "newer.onnx", settings=metadata(name="newer", threshold=0.6))

    async def steps(called: Called) -> None:
        models = called.service.engine.models
        before = models.current.info.id
        stream = called.stub.Scan(metadata=called.auth())
        for request in (start(), strip(0)):
            await stream.write(request)
        assert [(await stream.read()).WhichOneof("message") for _ in range(2)] == ["ready", "result"]
        await asyncio.to_thread(models.load, "newer")
        assert models.current.info.id != before
        await send_from(stream, 1)
        done = [answer async for answer in answers(stream)][-1].done
        assert done.stain_map.model == before
        used = {version.info.id: version.leases for version in models.versions()}
        assert set(used.values()) == {0}  # given back with the map

    with_calls(tmp_path, steps, models_dir=tmp_path / "models")
