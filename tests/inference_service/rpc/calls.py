"""A whole service with its gRPC server on a loopback port, and calls of it without our own client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference_service.proto.spotgrid.v1 import stain_detection_pb2 as pb
from inference_service.proto.spotgrid.v1 import stain_detection_pb2_grpc as pb_grpc
from inference_service.rpc.server import RpcServer, create_server
from inference_service.service import Service
from tests.inference_service.kit import Slow, settings

SCALE = 0.5
"""mm per px of the cloth below."""


@dataclass
class Called:
    """A running service, a channel to it, and a key for each scope."""

    service: Service
    server: RpcServer
    channel: grpc.aio.Channel
    keys: dict[str, str]

    @property
    def stub(self) -> Any:  # what its streams read is typed "object"
        return pb_grpc.StainDetectionStub(self.channel)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    def auth(self, scope: str = "detect") -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.keys[scope]}"),)


@asynccontextmanager
async def calling(folder: Path, **given: Any) -> AsyncIterator[Called]:
    """A service that runs in this event loop until the block ends."""
    service = Service.build(settings(folder, **{"grpc_port": 0, "streams_per_key": 50, **given}))
    keys = {scope: service.keys.create([scope])[1] for scope in ("detect", "actuate", "report", "admin")}
    server = create_server(service)
    await service.start()
    await server.start()
    try:
        await asyncio.wait_for(service.engine.started(), 120)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            yield Called(service, server, channel, keys)
    finally:
        await server.stop(0)
        await service.stop()


def with_calls(folder: Path, steps: Callable[[Called], Coroutine[Any, Any, None]], **given: Any) -> None:
    """Run `steps` against a service, to the end."""

    async def body() -> None:
        async with calling(folder, **given) as called:
            await steps(called)

    asyncio.run(body())


def cloth(seed: int = 0, width: int = 160, height: int = 200, spots: int = 4) -> NDArray[np.uint8]:
    """A light cloth with dark spots, uint8 (H, W, 3), `SCALE` mm per px."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), 230, dtype=np.uint8)
    for _ in range(spots):
        top, left = int(rng.integers(0, height - 14)), int(rng.integers(0, width - 14))
        image[top : top + 12, left : left + 12] = (90, 8, 8)
    return image


def png(image: NDArray[np.uint8]) -> bytes:
    out = BytesIO()
    Image.fromarray(image).save(out, "PNG")
    return out.getvalue()


def scale(**given: Any) -> pb.Settings:
    return pb.Settings(mm_per_px=SCALE, **given)


def detect_request(image: NDArray[np.uint8] | None = None, **given: Any) -> pb.DetectRequest:
    return pb.DetectRequest(picture=png(cloth() if image is None else image), settings=scale(**given))


def hold(slow: Slow) -> None:
    """From here on work waits; what came before, such as warming, is forgotten."""
    slow.go.clear()
    while slow.started.acquire(blocking=False):
        pass


async def each(items: Iterable[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


def trailers_of(error: grpc.aio.AioRpcError) -> dict[str, str]:
    return {str(name): str(value) for name, value in error.trailing_metadata()}
