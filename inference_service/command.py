"""`spotgrid serve`: HTTP and gRPC in one event loop, until a signal asks to stop; then work in progress ends first."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from inference_service.errors import ServiceError
from inference_service.logs import set_up
from inference_service.settings import Settings, SettingsError

if TYPE_CHECKING:
    import uvicorn

    from inference_service.service import Service

_LOG: Final = logging.getLogger(__name__)
_ENGINES: Final = ("local", "ray")
_OPTIONS: Final = ("host", "port", "grpc_port", "engine")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `spotgrid serve`; all other settings come from --config and the environment."""
    add = parser.add_argument
    add("--config", type=Path, metavar="FILE", help="settings (TOML); docs/service.md lists them")
    add("--host", metavar="ADDRESS", help="address to listen on (default 127.0.0.1)")
    add("--port", type=int, metavar="N", help="HTTP port (default 8080; 0 = any free one)")
    add("--grpc-port", type=int, metavar="N", help="gRPC port (default 8081; 0 = any free one)")
    add("--engine", choices=_ENGINES, help="where pictures are looked at: this process (default), or a Ray cluster")


def run(args: argparse.Namespace) -> int:
    """Carry out the command: 0 stopped as asked, 1 it cannot serve, 2 the call was wrong."""
    try:
        options = {name: getattr(args, name) for name in _OPTIONS}
        settings = Settings.load(args.config, **options)
    except SettingsError as error:
        print("\n".join(f"spotgrid serve: {line}" for line in str(error).splitlines()), file=sys.stderr)
        return 2
    set_up(settings.log_level, settings.log_format)
    from inference_service.service import Service

    _LOG.info("starting", extra={"settings": settings.shown()})
    try:
        service = Service.build(settings)
        if not service.keys.list():
            _LOG.warning("there is no access key yet, so nobody can call: spotgrid keys create --scope detect")
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            runner.run(serve(service))
    except ServiceError as error:
        print(f"spotgrid serve: {error.detail}", file=sys.stderr)
        return 1
    return 0


async def serve(service: Service, stop: asyncio.Event | None = None) -> None:
    """Serve until SIGTERM or SIGINT (a second one cuts off what is in progress), or until `stop` is set.

    Raises:
        ServiceError: unavailable: a port cannot be had, or certificates cannot be read.
    """
    try:
        with _listen(service.settings.host, service.settings.port) as listening:
            await _serve(service, listening, stop or asyncio.Event())
    finally:
        await service.stop()
    _LOG.info("stopped")


async def _serve(service: Service, listening: socket.socket, stop: asyncio.Event) -> None:
    from inference_service.rpc.server import create_server

    settings, http = service.settings, _http_server(service)
    rpc = create_server(service)
    await rpc.start()
    await service.start()
    serving = asyncio.create_task(http.serve(sockets=[listening]))
    with _signals(stop, http):
        scheme, port = "https" if settings.tls else "http", listening.getsockname()[1]
        _LOG.info("listening", extra={"http": f"{scheme}://{settings.host}:{port}"})
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        _LOG.info("stopping", extra={"drain_s": settings.drain_s})
        service.draining = http.should_exit = True
        await asyncio.gather(serving, rpc.stop(settings.drain_s))
        stopping.cancel()


def _new_loop() -> asyncio.AbstractEventLoop:
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket: bound here, since uvicorn ends the whole process where it cannot."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, OverflowError) as error:
        raise ServiceError(
            "unavailable", f"cannot listen on {host}:{port} ({error}); choose another --host or --port"
        ) from None


def _http_server(service: Service) -> uvicorn.Server:
    import uvicorn

    from inference_service.http.app import create_app
    from inference_service.http.protocol import BoundedProtocol

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # signals are ours: they stop gRPC too

    settings = service.settings
    config = uvicorn.Config(
        create_app(service),
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        http=BoundedProtocol.limited_to(settings.max_connections),
        server_header=False,
        proxy_headers=bool(settings.forwarded_allow_ips),
        forwarded_allow_ips=settings.forwarded_allow_ips or None,
        timeout_graceful_shutdown=max(1, round(settings.drain_s)),
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
        ssl_ca_certs=None if settings.tls_client_ca is None else str(settings.tls_client_ca),
        ssl_cert_reqs=ssl.CERT_NONE if settings.tls_client_ca is None else ssl.CERT_REQUIRED,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise ServiceError(
            "unavailable", f"the certificates cannot be used ({error}); check tls_cert, tls_key"
        ) from None
    return Server(config)


@contextmanager
def _signals(stop: asyncio.Event, http: uvicorn.Server) -> Iterator[None]:
    """While the block lasts a first signal sets `stop`, a second one cuts HTTP off."""
    loop = asyncio.get_running_loop()

    def asked() -> None:
        http.force_exit = stop.is_set()
        stop.set()

    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, asked)
    except (RuntimeError, ValueError):  # not the main thread: whoever runs us there stops us by `stop`
        yield
        return
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
