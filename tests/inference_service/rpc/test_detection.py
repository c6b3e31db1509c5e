"""Detect and RecordTreatments: what is answered is on disk, and what is wrong is named."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest

from inference_service import wire
from inference_service.proto.spotgrid.v1 import stain_detection_pb2 as pb
from tests.inference_service.kit import Slow
from tests.inference_service.rpc.calls import (
    Called,
    cloth,
    detect_request,
    each,
    hold,
    png,
    scale,
    trailers_of,
    with_calls,
)


def event(number: int, **changes: Any) -> pb.TreatmentEvent:
    body = {"kind": "ended", "at_s": 1000.0 + number, "plan_id": "P1", "how": "done", **changes}
    return wire.event_to_wire(f"E{number:04}", body)


async def record(called: Called, *batches: list[pb.TreatmentEvent]) -> pb.RecordTreatmentsResponse:
    messages = each([pb.RecordTreatmentsRequest(events=batch) for batch in batches])
    answer: pb.RecordTreatmentsResponse = await called.stub.RecordTreatments(messages, metadata=called.auth("actuate"))
    return answer


async def refusal(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value


def test_a_picture_becomes_the_map_that_the_detector_makes_and_is_recorded(tmp_path: Path) -> None:
    async def steps(called: Called) -> None:
        told: dict[str, Any] = {"garment_id": "G1", "source": "衣.png", "preset": "thorough"}
        asked = detect_request(**told, ticket="T1", rig_id="R1", side="back")
        asked.age_ms = 1000
        answer = (await called.stub.Detect(asked, metadata=called.auth())).stain_map
        with called.service.engine.lease() as detector:
            want = detector.detect(cloth(), mm_per_px=0.5, **told).to_json()
        document = wire.document_from_wire(answer)
        assert {name: document[name] for name in document if name not in {"id", "age_ms"}} == {
            name: want[name] for name in want if name not in {"id", "age_ms"}
        }
        assert document["cells"]
        assert 1000 < document["age_ms"] < 121_000
        assert called.service.ledger.map_json(document["id"]) == document
        (row,) = called.service.ledger.maps()
        assert (row["rig_id"], row["ticket"], row["side"]) == ("R1", "T1", "back")

    with_calls(tmp_path, steps)


WRONG: list[tuple[pb.DetectRequest, str, str]] = [
    (pb.DetectRequest(picture=b"x", settings=scale()), "bad-picture", "JPEG"),
    (pb.DetectRequest(picture=png(cloth())), "bad-request", "mm_per_px"),
    (pb.DetectRequest(picture=png(cloth()), settings=pb.Settings(mm_per_px=99)), "bad-request", "0.02"),
    (pb.DetectRequest(picture=png(cloth()), settings=pb.Settings(mm_per_px=float("nan"))), "bad-request", "mm"),
    (pb.DetectRequest(picture=png(cloth()), settings=pb.Settings(mm_per_px=1e300)), "bad-request", "0.02"),
    (pb.DetectRequest(picture=png(cloth()), settings=pb.Settings(calibration_id="none")), "not-found", "calibration"),
    (pb.DetectRequest(picture=png(cloth()), settings=pb.Settings(calibration_id="")), "bad-request", "calibration"),
    (detect_request(threshold=2.0), "bad-request", "threshold"),
    (detect_request(threshold=float("nan")), "bad-request", "threshold"),
    (detect_request(threshold=0.5, preset="thorough"), "bad-request", "preset"),
    (detect_request(preset="no"), "bad-request", "preset"),
    (detect_request(model="no"), "not-found", "no"),
    (detect_request(captured_at="yesterday"), "bad-request", "captured_at"),
    (detect_request(captured_at="2026-11-25T08:00:00"), "bad-request", "zone"),
    (detect_request(garment_id=""), "bad-request", "garment_id"),
    (detect_request(garment_id="G" * 129), "bad-request", "garment_id"),
    (detect_request(source="a\0b"), "bad-request", "source"),
    (detect_request(side="left"), "bad-request", "side"),
    (pb.DetectRequest(picture=png(cloth()), settings=scale(), age_ms=-1), "bad-request", "age_ms"),
    (pb.DetectRequest(picture=png(cloth()), settings=scale(), age_ms=float("inf")), "bad-request", "age_ms"),
    (pb.DetectRequest(picture=png(cloth(height=1600, width=1600)), settings=scale()), "too-large", "px"),
]


def test_what_is_wrong_with_a_request_is_named(tmp_path: Path) -> None:
    async def steps(called: Called) -> None:
        for asked, slug, told in WRONG:
            error = await refusal(called.stub.Detect(asked, metadata=called.auth()))
            assert (trailers_of(error)["spotgrid-error"], told in str(error.details())) == (slug, True), error.details()
        broken: Any = called.channel.unary_unary("/spotgrid.v1.StainDetection/Detect")
        error = await refusal(broken(b"\xff\xff\xff", metadata=called.auth()))
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert called.service.ledger.maps() == []

    with_calls(tmp_path, steps, max_pixels=1_000_000)


def test_overload_is_answered_at_once_with_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(monkeypatch)
    slow.go.set()

    async def steps(called: Called) -> None:
        hold(slow)
        running = asyncio.ensure_future(called.stub.Detect(detect_request(), metadata=called.auth()))
        await slow.wait_started()
        error = await refusal(called.stub.Detect(detect_request(), metadata=called.auth()))
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert float(trailers_of(error)["retry-after-s"]) > 0
        slow.go.set()
        assert (await running).stain_map.cells

    with_calls(tmp_path, steps, queue_size=0, workers=1)


def test_work_whose_deadline_passed_is_not_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(monkeypatch)
    slow.go.set()

    async def steps(called: Called) -> None:
        hold(slow)
        running = asyncio.ensure_future(called.stub.Detect(detect_request(), metadata=called.auth()))
        await slow.wait_started()
        error = await refusal(called.stub.Detect(detect_request(), metadata=called.auth(), timeout=0.3))
        assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        slow.go.set()
        await running
        await asyncio.sleep(0.2)
        assert not slow.started.acquire(blocking=False)  # the second picture was never looked at

    with_calls(tmp_path, steps, queue_size=4, workers=1)


def test_events_are_stored_once_however_often_they_are_sent(tmp_path: Path) -> None:
    async def steps(called: Called) -> None:
        first = await record(called, [event(1), event(2)], [], [event(3), event(1)])
        assert (first.stored, first.duplicates) == (3, 1)
        again = await record(called, [event(1), event(2), event(3), event(4)])
        assert (again.stored, again.duplicates) == (1, 3)

    with_calls(tmp_path, steps)


def test_a_wrong_event_is_named_and_its_message_is_not_stored(tmp_path: Path) -> None:
    async def steps(called: Called) -> None:
        wrong = [
            (event(2, kind="what"), "kind", "bad-request"),
            (event(2, plan_id=None), "plan_id", "bad-request"),
            (pb.TreatmentEvent(id="E2", kind="ended", more_json="["), "more_json", "bad-request"),
            (event(1, how="otherwise"), "E0001", "conflict"),
        ]
        await record(called, [event(1)])
        for bad, told, slug in wrong:
            error = await refusal(record(called, [event(9), bad]))
            assert trailers_of(error)["spotgrid-error"] == slug
            assert told in str(error.details())
        assert (await record(called, [event(9)])).stored == 1

    with_calls(tmp_path, steps)
