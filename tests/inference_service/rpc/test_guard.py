"""No call is answered without the right scope, and every refusal says what to do."""

from __future__ import annotations

import asyncio
import gc
import weakref
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc  # type: ignore[import-untyped]

from inference_service.errors import ServiceError
from inference_service.proto.spotgrid.v1 import stain_detection_pb2 as pb
from inference_service.rpc import problems
from inference_service.rpc.guard import peer_address
from inference_service.rpc.scopes import METHODS
from tests.inference_service.rpc.calls import Called, detect_request, each, trailers_of, with_calls

SERVICES = (
    pb.DESCRIPTOR.services_by_name["StainDetection"],
    health_pb2.DESCRIPTOR.services_by_name["Health"],
    reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"],
)
ALL = {f"/{service.full_name}/{method.name}": method for service in SERVICES for method in service.methods}


async def outcome(called: Called, method: str, metadata: tuple[tuple[str, str], ...]) -> grpc.StatusCode:
    """The status of a call whose message is empty."""
    kind = ALL[method]
    pair = ("stream" if kind.client_streaming else "unary", "stream" if kind.server_streaming else "unary")
    call = getattr(called.channel, "_".join(pair))(method)
    asked = each([b""]) if kind.client_streaming else b""
    running = call(asked, metadata=metadata, timeout=0.5 if method.endswith("Health/Watch") else 60)
    try:
        if kind.server_streaming:
            async for _ in running:
                pass
        else:
            await running
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def test_refused_calls_leave_nothing_for_the_garbage_collector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What holds on to itself waits for a collection that may come thousands of requests later, with its picture."""
    refusals: list[weakref.ref[ServiceError]] = []
    refuse = problems.refuse

    def noted(context: Any, error: ServiceError) -> None:
        refusals.append(weakref.ref(error))
        refuse(context, error)

    async def steps(called: Called) -> None:
        monkeypatch.setattr(problems, "refuse", noted)
        gc.disable()
        try:
            for method in ("Detect", "Watch", "Scan", "RecordTreatments"):
                for scope in ("detect", "report"):
                    await outcome(called, f"/spotgrid.v1.StainDetection/{method}", called.auth(scope))
            await asyncio.sleep(0.1)
            assert len(refusals) >= 6
            assert [refusal() for refusal in refusals if refusal() is not None] == []
        finally:
            gc.enable()

    with_calls(tmp_path, steps)


def test_the_table_has_every_method_and_no_other() -> None:
    assert set(METHODS) == set(ALL)


def test_every_call_without_the_right_scope_is_refused(tmp_path: Path) -> None:
    async def steps(called: Called) -> None:
        for method, wanted in METHODS.items():
            let_in = {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.DEADLINE_EXCEEDED}
            if not wanted:
                assert await outcome(called, method, ()) in let_in, method
                continue
            assert await outcome(called, method, ()) == grpc.StatusCode.UNAUTHENTICATED, method
            for scope in called.keys:
                code = await outcome(called, method, called.auth(scope))
                assert (code in let_in) == (scope in wanted), (method, scope, code)
                assert scope in wanted or code == grpc.StatusCode.PERMISSION_DENIED, (method, scope, code)

    with_calls(tmp_path, steps)


def test_a_method_that_the_table_does_not_know_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(METHODS, "/spotgrid.v1.StainDetection/Detect")

    async def steps(called: Called) -> None:
        for scope in called.keys:
            code = await outcome(called, "/spotgrid.v1.StainDetection/Detect", called.auth(scope))
            assert code == grpc.StatusCode.PERMISSION_DENIED

    with_calls(tmp_path, steps)


WRONG = ("", "Bearer ", "Basic abc", "Bearer sg_000000000000_" + "A" * 43, "Bearer ~")


def test_a_wrong_key_is_refused(tmp_path: Path) -> None:
    async def steps(called: Called) -> None:
        for header in WRONG:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await called.stub.Detect(detect_request(), metadata=(("authorization", header),))
            assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
            assert trailers_of(refused.value)["spotgrid-error"] == "no-key"
            assert "key" in str(refused.value.details())

    with_calls(tmp_path, steps)


def test_a_revoked_key_is_refused_and_guessing_is_slowed(tmp_path: Path) -> None:
    async def steps(called: Called) -> None:
        key_id, secret = called.service.keys.create(["detect"])
        called.service.keys.revoke(key_id)
        codes = []
        for _ in range(12):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await called.stub.Detect(detect_request(), metadata=(("authorization", f"Bearer {secret}"),))
            codes.append(refused.value.code())
        assert codes[0] == grpc.StatusCode.UNAUTHENTICATED
        assert codes[-1] == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert float(trailers_of(refused.value)["retry-after-s"]) > 0
        assert int(trailers_of(refused.value)["grpc-retry-pushback-ms"]) > 0

    with_calls(tmp_path, steps)


def test_streams_and_calls_of_a_key_are_bounded(tmp_path: Path) -> None:
    async def steps(called: Called) -> None:
        first = called.stub.Watch(metadata=called.auth())
        second = called.stub.Watch(metadata=called.auth())
        for stream in (first, second):
            await stream.write(pb.WatchRequest(frame=1))
            assert isinstance(await stream.read(), pb.WatchResponse)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await called.stub.Watch(metadata=called.auth()).read()
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "streams_per_key" in str(refused.value.details())
        first.cancel()
        await second.done_writing()
        while await second.read() is not grpc.aio.EOF:
            pass
        await asyncio.sleep(0.1)
        third = called.stub.Watch(metadata=called.auth())  # the others have given their places back
        await third.write(pb.WatchRequest(frame=1))
        assert isinstance(await third.read(), pb.WatchResponse)
        third.cancel()

    with_calls(tmp_path, steps, streams_per_key=2)


def test_a_key_that_calls_too_often_is_told_when_to_come_back(tmp_path: Path) -> None:
    async def steps(called: Called) -> None:
        await called.stub.Detect(detect_request(), metadata=called.auth())
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await called.stub.Detect(detect_request(), metadata=called.auth())
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "rate_per_s" in str(refused.value.details())

    with_calls(tmp_path, steps, rate_per_s=0.01, rate_burst=1)


def test_a_message_over_the_limit_is_refused(tmp_path: Path) -> None:
    async def steps(called: Called) -> None:
        for extra, code in ((200_000, "RESOURCE_EXHAUSTED"), (100, "INVALID_ARGUMENT")):  # gRPC's own limit, then ours
            request = pb.DetectRequest(picture=bytes(10_000 + extra), settings=pb.Settings(mm_per_px=0.5))
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await called.stub.Detect(request, metadata=called.auth())
            assert refused.value.code().name == code
        assert trailers_of(refused.value)["spotgrid-error"] == "too-large"

    with_calls(tmp_path, steps, max_body_bytes=10_000)


def test_a_fault_tells_nothing_but_the_request_id_to_look_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(called: Called) -> None:
        def fault(*_: object, **__: object) -> None:
            raise ZeroDivisionError("secret detail")

        monkeypatch.setattr(called.service.ledger, "record_map", fault)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await called.stub.Detect(detect_request(), metadata=called.auth())
        assert refused.value.code() == grpc.StatusCode.INTERNAL
        assert "secret" not in str(refused.value.details())
        assert b'spotgrid_refused_total{kind="internal"} 1.0' in called.service.metrics.text()

    with_calls(tmp_path, steps)


def test_every_answer_carries_the_id_that_the_log_has(tmp_path: Path) -> None:
    async def steps(called: Called) -> None:
        own = (*called.auth(), ("x-request-id", "rig-7/42"))
        good = called.stub.Detect(detect_request(), metadata=own)
        await good
        assert dict(await good.trailing_metadata())["x-request-id"] == "rig-7/42"
        for sent in ((), (("x-request-id", "two\u0020words"),)):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await called.stub.Detect(pb.DetectRequest(), metadata=(*called.auth(), *sent))
            assert len(trailers_of(refused.value)["x-request-id"]) == 16  # a fresh one

    with_calls(tmp_path, steps)


def test_health_says_what_readyz_says(tmp_path: Path) -> None:
    async def steps(called: Called) -> None:
        stub = health_pb2_grpc.HealthStub(called.channel)
        states = health_pb2.HealthCheckResponse
        assert (await stub.Check(health_pb2.HealthCheckRequest())).status == states.SERVING
        watching = stub.Watch(health_pb2.HealthCheckRequest(service="spotgrid.v1.StainDetection"))
        assert (await watching.read()).status == states.SERVING
        called.service.draining = True
        assert (await watching.read()).status == states.NOT_SERVING
        watching.cancel()
        listed = (await stub.List(health_pb2.HealthListRequest())).statuses
        assert {name: state.status for name, state in listed.items()} == {
            "": states.NOT_SERVING, "spotgrid.v1.StainDetection": states.NOT_SERVING
        }  # fmt: skip
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Check(health_pb2.HealthCheckRequest(service="other"))
        assert refused.value.code() == grpc.StatusCode.NOT_FOUND

    with_calls(tmp_path, steps)


def test_reflection_shows_the_service_to_an_admin(tmp_path: Path) -> None:
    async def steps(called: Called) -> None:
        stub = reflection_pb2_grpc.ServerReflectionStub(called.channel)
        asked = [
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol="spotgrid.v1.StainMap"),
        ]
        answers = [a async for a in stub.ServerReflectionInfo(each(asked), metadata=called.auth("admin"))]
        names = {service.name for service in answers[0].list_services_response.service}
        assert names == {service.full_name for service in SERVICES}
        assert b"spotgrid/v1/stain_map.proto" in answers[1].file_descriptor_response.file_descriptor_proto[0]

    with_calls(tmp_path, steps)


@pytest.mark.parametrize(
    ("peer", "address"),
    [("ipv4:10.0.0.7:51234", "10.0.0.7"), ("ipv6:%5B::1%5D:9", "::1"), ("ipv6:[::1]:9", "::1"), ("unix:/x", "unix:/x")],
)
def test_a_peer_is_known_by_its_address_alone(peer: str, address: str) -> None:
    assert peer_address(peer) == address
