"""Live frames: the latest wins, the count is exact, ages are bounded, memory is flat, whatever comes in."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest

from benchmarks.service.overload import overload
from inference_service.proto.spotgrid.v1 import stain_detection_pb2 as pb
from inference_service.rpc.watch import Slot
from tests.inference_service.kit import Slow
from tests.inference_service.rpc.calls import Called, cloth, hold, png, scale, with_calls

PICTURE = png(cloth())


def frame(number: int, **given: Any) -> pb.WatchRequest:
    return pb.WatchRequest(**{"frame": number, "picture": PICTURE, "settings": scale(), **given})


async def rest(stream: Any) -> list[pb.WatchResponse]:
    found = []
    while isinstance(answer := await stream.read(), pb.WatchResponse):
        found.append(answer)
    return found


def assert_counted(last: pb.WatchResponse, sent: int, answered: int) -> None:
    assert last.WhichOneof("answer") is None
    assert (last.count.received, last.count.answered) == (sent, answered)
    assert sent == last.count.answered + last.count.dropped


def test_every_frame_is_answered_when_there_is_time(tmp_path: Path) -> None:
    async def steps(called: Called) -> None:
        stream = called.stub.Watch(metadata=called.auth())
        for number in (1, 2, 7):
            await stream.write(frame(number, age_ms=500))
            answer = await stream.read()
            assert answer.frame == number
            assert answer.stain_map.cells
            assert 500 <= answer.stain_map.age_ms <= answer.age_ms
        await stream.done_writing()
        (last,) = await rest(stream)
        assert_counted(last, 3, 3)
        assert called.service.ledger.maps() == []

    with_calls(tmp_path, steps)


def test_the_latest_wins_and_waiting_makes_it_older(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(monkeypatch)
    slow.go.set()

    async def steps(called: Called) -> None:
        hold(slow)
        stream = called.stub.Watch(metadata=called.auth())
        await stream.write(frame(1))
        await slow.wait_started()
        for number in (2, 3, 4):
            await stream.write(frame(number, record=True, settings=scale(rig_id="R1")))
        await asyncio.sleep(0.3)
        slow.go.set()
        await stream.done_writing()
        first, second, last = await rest(stream)
        assert [first.frame, second.frame] == [1, 4]
        assert second.stain_map.age_ms >= 200
        assert_counted(last, 4, 2)
        (row,) = called.service.ledger.maps()
        assert (row["id"], row["rig_id"]) == (second.stain_map.id, "R1")
        assert b"spotgrid_drops_total 2.0" in called.service.metrics.text()

    with_calls(tmp_path, steps)


def test_a_bad_frame_is_answered_and_the_stream_goes_on(tmp_path: Path) -> None:
    async def steps(called: Called) -> None:
        stream = called.stub.Watch(metadata=called.auth())
        for bad, slug in (
            (frame(1, picture=b"x"), "bad-picture"),
            (frame(1, settings=pb.Settings()), "bad-request"),
            (frame(1, age_ms=-5), "bad-request"),
        ):
            await stream.write(bad)
            answer = await stream.read()
            assert (answer.frame, answer.problem.slug) == (1, slug)
            assert answer.problem.detail
        await stream.write(frame(2))
        assert (await stream.read()).stain_map.cells
        await stream.done_writing()
        assert_counted((await rest(stream))[-1], 4, 4)

    with_calls(tmp_path, steps)


def test_a_stop_ends_the_stream_with_its_count(tmp_path: Path) -> None:
    async def steps(called: Called) -> None:
        stream = called.stub.Watch(metadata=called.auth())
        await stream.write(frame(1))
        assert (await stream.read()).frame == 1
        stopping = asyncio.create_task(called.server.stop(30))
        assert_counted(await stream.read(), 1, 1)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stream.read()
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
        await asyncio.wait_for(stopping, 30)

    with_calls(tmp_path, steps)


def test_three_times_more_frames_than_can_be_served(tmp_path: Path) -> None:
    """A service time that we set makes "three times" exact on any machine; the campaign does it for 60 s."""

    async def steps(called: Called) -> None:
        found = await overload(called, 1.5)
        assert found.exact
        assert found.count.dropped > found.sent / 4
        # Half a service time more than promised: here the other tests' leftovers share the machine.
        assert found.age_in_service_times <= 3.5, (found.ages_ms, found.took_ms)

    with_calls(tmp_path, steps)


def test_the_slot_counts_exactly() -> None:
    async def steps() -> None:
        slot = Slot()
        assert [slot.put(frame(number)) for number in (1, 2, 3)] == [False, True, True]
        found = await slot.get()
        assert found is not None
        assert found[0].frame == 3
        assert not slot.put(frame(4))
        slot.close()
        assert slot.drop_rest() == 1
        assert await slot.get() is None
        assert slot.count() == pb.WatchCount(received=4, answered=0, dropped=3)

    asyncio.run(steps())
