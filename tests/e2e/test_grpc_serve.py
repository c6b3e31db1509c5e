"""gRPC of `spotgrid serve` itself: its own process, its own event loop, its own way to stop."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference_service.client import ClientError, Frame, GrpcClient, Options, WatchUpdate
from tests.e2e.serving import served
from tests.inference_service.rpc.calls import SCALE, cloth, png
from tests.inference_service.rpc.strips import STRIPS

pytestmark = pytest.mark.e2e
OPTIONS = Options(mm_per_px=SCALE)


def camera() -> Iterator[Frame]:
    picture = png(cloth())
    while True:
        time.sleep(0.02)
        yield Frame(picture)


def test_a_served_stream_works_and_ends_with_the_service(tmp_path: Path) -> None:
    updates: list[WatchUpdate] = []
    with served(tmp_path) as env, GrpcClient(env["SPOTGRID_GRPC"], env["SPOTGRID_KEY"], timeout_s=6) as client:
        assert client.ready()
        assert len(client.detect(png(cloth()), OPTIONS)) > 0
        assert list(client.scan(STRIPS, OPTIONS))[-1].stain_map is not None
        with pytest.raises(ClientError):  # noqa: PT012  # the service goes away while frames are being answered
            for update in client.watch(camera(), OPTIONS):
                updates.append(update)
                if len(updates) == 5:
                    os.kill(int(env["SPOTGRID_PID"]), signal.SIGTERM)
    assert 5 <= len(updates) < 200
    assert all(update.stain_map is not None for update in updates)
