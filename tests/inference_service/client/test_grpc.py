"""Our client against the real service, through a link that cuts the connection below gRPC."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.link.emulator import emulated
from benchmarks.link.profiles import PROFILES
from benchmarks.service.cuts import OPTIONS, ledger_wrong, through_connections
from inference_service.client import AsyncGrpcClient, ClientError, Frame, ScanUpdate
from inference_service.client.live import WatchUpdate
from model.packing import cells_json
from tests.inference_service.rpc.calls import SCALE, Called, calling, cloth, png, with_calls
from tests.inference_service.rpc.strips import IMAGE, STRIPS, kept


def client(called: Called, scope: str = "detect", port: int | None = None, **given: Any) -> AsyncGrpcClient:
    return AsyncGrpcClient(f"grpc://127.0.0.1:{port or called.server.port}", called.keys[scope], **given)


def bare(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in {"id", "age_ms"}}


async def strips(delay_s: float = 0.0) -> AsyncIterator[bytes]:
    for strip in STRIPS:
        await asyncio.sleep(delay_s)
        yield strip


def test_detect_gives_the_map(tmp_path: Path) -> None:
    async def steps(called: Called) -> None:
        async with client(called) as ours:
            assert await ours.ready()
            found = await ours.detect(png(cloth()), OPTIONS, age_ms=100)
            with called.service.engine.lease() as detector:
                want = detector.detect(cloth(), mm_per_px=SCALE, garment_id="G1")
            assert bare(found.to_json()) == bare(want.to_json())
            assert found.age_ms >= 100

    with_calls(tmp_path, steps)


def test_refusals_come_in_our_form(tmp_path: Path) -> None:
    async def steps(called: Called) -> None:
        async with client(called) as ours, client(called, "actuate") as other:
            with pytest.raises(ClientError, match="JPEG") as refused:
                await ours.detect(b"x", OPTIONS)
            assert (refused.value.slug, refused.value.again) == ("bad-picture", False)
            with pytest.raises(ClientError, match="scope") as refused:
                await other.detect(png(cloth()), OPTIONS)
            assert refused.value.slug == "scope"
            with pytest.raises(ClientError, match="at least one"):
                await anext(ours.scan([], OPTIONS))
            with pytest.raises(ClientError, match="scope"):
                await anext(other.scan(STRIPS, OPTIONS))

    with_calls(tmp_path, steps)


def test_nobody_there_is_told_in_time() -> None:
    async def steps() -> None:
        async with AsyncGrpcClient("grpc://127.0.0.1:1", "sg_x", timeout_s=0.5) as ours:
            assert not await ours.ready()
            with pytest.raises(ClientError) as refused:
                await ours.detect(b"x", OPTIONS)
            assert (refused.value.slug, refused.value.again) == ("unreachable", True)
            with pytest.raises(ClientError, match="unreachable"):
                await anext(ours.scan(STRIPS, OPTIONS))

    asyncio.run(steps())


@pytest.mark.parametrize("url", ["127.0.0.1:80", "http://x:1", "grpc://", "grpc://h:1/path"])
def test_a_wrong_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="grpc://HOST:PORT"):
        AsyncGrpcClient(url, "sg_x")


def test_a_scan_through_a_link_that_breaks_is_the_scan_that_did_not(tmp_path: Path) -> None:
    async def steps(called: Called) -> None:
        found = await through_connections(called, 4)
        assert found.cuts >= 4
        assert found.wrong == []
        assert ledger_wrong(called, found.scans) == []

    with_calls(tmp_path, steps)


def assert_whole(updates: list[ScanUpdate], want: dict[str, Any]) -> None:
    *parts, last = updates
    assert [part.strip for part in parts] == list(range(len(STRIPS)))
    assert last.stain_map is not None
    assert bare(last.stain_map.to_json()) == want
    cells = [cell for update in updates for cell in cells_json(update.cells)]
    assert sorted(cells, key=lambda cell: (cell["row"], cell["col"])) == want["cells"]


def test_a_scan_goes_on_after_the_service_was_restarted(tmp_path: Path) -> None:
    """Cells that were given out before are not given out again, though the new service begins from the first strip."""

    async def steps() -> None:
        async with calling(tmp_path) as first:
            port, key = first.server.port, first.keys["detect"]
            ours = AsyncGrpcClient(f"grpc://127.0.0.1:{port}", key, timeout_s=120)
            running = ours.scan(strips(0.01), OPTIONS, scan_id="scan-000001")
            updates = [await anext(running) for _ in range(4)]
        async with calling(tmp_path, grpc_port=port) as second:
            updates += [update async for update in running]
            await ours.close()
            with second.service.engine.lease() as detector:
                assert_whole(updates, bare(detector.detect(IMAGE, mm_per_px=SCALE, garment_id="G1").to_json()))
            assert len(kept(second)) == len(STRIPS)

    asyncio.run(steps())


def test_a_source_that_fails_ends_the_scan_with_its_own_error(tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield STRIPS[0]
        raise OSError("the camera is gone")

    async def steps(called: Called) -> None:
        async with client(called) as ours:
            with pytest.raises(OSError, match="camera"):
                async for _ in ours.scan(broken(), OPTIONS):
                    pass

    with_calls(tmp_path, steps)


async def camera(frames: int, every_s: float) -> AsyncIterator[Frame]:
    picture = png(cloth())
    for _ in range(frames):
        yield Frame(picture)
        await asyncio.sleep(every_s)


@pytest.mark.parametrize("in_flight", [2, 100])
def test_every_live_frame_is_accounted_for(tmp_path: Path, in_flight: int) -> None:
    async def steps(called: Called) -> None:
        async with client(called) as ours:
            updates = [update async for update in ours.watch(camera(60, 0.002), OPTIONS, in_flight=in_flight)]
            count = updates[-1].count
            assert count.seen == 60
            assert count.answered == len(updates)
            assert_balanced(updates)
            assert count.skipped + count.dropped > 0
            assert all(update.stain_map is not None for update in updates)

    with_calls(tmp_path, steps)


def assert_balanced(updates: list[WatchUpdate]) -> None:
    """At the end nothing waits but what came after the last answer, which is counted in it as waiting or under way."""
    ages = [update.frame.taken_at for update in updates]
    assert ages == sorted(ages)
    for update in updates:
        count = update.count
        assert count.answered + count.dropped + count.lost <= count.sent
        assert count.sent + count.skipped <= count.seen <= count.sent + count.skipped + 1


def test_live_frames_go_on_after_a_cut_and_the_lost_are_counted(tmp_path: Path) -> None:
    async def steps(called: Called) -> None:
        updates: list[WatchUpdate] = []
        async with (
            emulated(called.server.port, PROFILES["wifi"]) as link,
            client(called, port=link.port, timeout_s=120) as ours,
            aclosing(ours.watch(camera(10**6, 0.01), OPTIONS)) as watching,
        ):
            async for update in watching:
                updates.append(update)
                if len(updates) in {3, 6}:
                    link.cut()
                if len(updates) == 9:
                    break
            assert link.cuts == 2
            assert_balanced(updates)
            assert 1 <= updates[-1].count.lost <= 4

    with_calls(tmp_path, steps)


def test_a_service_that_stops_ends_live_frames_though_the_camera_goes_on(tmp_path: Path) -> None:
    async def steps(called: Called) -> None:
        live = camera(10**6, 0.01)
        async with client(called, timeout_s=0.5) as ours, aclosing(ours.watch(live, OPTIONS)) as watching:
            await anext(watching)
            stopping = asyncio.create_task(called.server.stop(30))
            with pytest.raises(ClientError):
                await drained(watching)
            await stopping

    with_calls(tmp_path, steps)


async def drained(watching: AsyncIterator[WatchUpdate]) -> None:
    async for _ in watching:
        pass


def test_frames_stay_fresh_on_a_slow_link(tmp_path: Path) -> None:
    """Without a bound on what is under way, frames would queue in the sender's own buffers, unseen by the service."""

    async def steps(called: Called) -> None:
        noise = random.Random(0).randbytes(3 * 80 * 100)
        picture = png(np.frombuffer(noise, np.uint8).reshape(100, 80, 3))  # 24 KB: 20 ms on this uplink

        async def frames() -> AsyncIterator[Frame]:
            for _ in range(80):
                yield Frame(picture)
                await asyncio.sleep(0.005)

        async with emulated(called.server.port, PROFILES["4g"]) as link, client(called, port=link.port) as ours:
            began = time.monotonic()
            ages = [update.age_ms async for update in ours.watch(frames(), OPTIONS)]
            print(f"{len(ages)} of 80 answered in {time.monotonic() - began:.1f} s; oldest {max(ages):.0f} ms")
            assert max(ages[len(ages) // 2 :]) <= 3 * sorted(ages)[len(ages) // 2] + 500

    with_calls(tmp_path, steps)
