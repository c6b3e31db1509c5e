"""Byte pipes to a controller: a serial line, a TCP port, or the simulator in this process."""

from __future__ import annotations

import os
import select
import socket
import termios
import tty
from collections.abc import Callable
from typing import Final, Protocol

from hardware.errors import RigError
from hardware.simulator import GrblSimulator

BAUD: Final = termios.B115200
"""GRBL 1.1's rate."""


class Port(Protocol):
    """A byte pipe. All methods raise OSError when the other end is gone."""

    def read(self, timeout_s: float) -> bytes:
        """What has come, waiting at most `timeout_s` for the first byte; b"" = nothing."""

    def write(self, data: bytes) -> None:
        """Send all of it."""

    def close(self) -> None:
        """Let go of it."""


class FilePort:
    """A serial device or a pty, by its file descriptor, which it owns."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, timeout_s: float) -> bytes:
        """See `Port`."""
        ready, _, _ = select.select([self._descriptor], [], [], timeout_s)
        if not ready:
            return b""
        data = os.read(self._descriptor, 4096)
        if not data:
            raise ConnectionResetError("the controller's line was closed")
        return data

    def write(self, data: bytes) -> None:
        """See `Port`."""
        while data:
            data = data[os.write(self._descriptor, data) :]

    def close(self) -> None:
        """See `Port`."""
        os.close(self._descriptor)


class TcpPort:
    """A controller behind a network socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read(self, timeout_s: float) -> bytes:
        """See `Port`."""
        ready, _, _ = select.select([self._connection], [], [], timeout_s)
        if not ready:
            return b""
        data = self._connection.recv(4096)
        if not data:
            raise ConnectionResetError("the controller closed the connection")
        return data

    def write(self, data: bytes) -> None:
        """See `Port`."""
        self._connection.sendall(data)

    def close(self) -> None:
        """See `Port`."""
        self._connection.close()


class SimulatedClock:
    """Seconds that pass only when somebody waits; called, it tells them."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Seconds since the beginning."""
        return self.now


class SimulatedPort:
    """A `GrblSimulator` on a `SimulatedClock`: reading from it is what lets time pass."""

    def __init__(self, simulator: GrblSimulator, clock: SimulatedClock) -> None:
        self._simulator, self._clock = simulator, clock

    def read(self, timeout_s: float) -> bytes:
        """See `Port`."""
        until = self._clock.now + timeout_s
        while not (said := self._simulator.transmit()):
            if self._clock.now >= until:
                return b""
            self._clock.now = min(until, max(self._simulator.next_event_s(), self._clock.now))
        return said

    def write(self, data: bytes) -> None:
        """See `Port`."""
        self._simulator.receive(data)

    def close(self) -> None:
        """See `Port`."""


def open_port(address: str) -> Port:
    """`serial:DEVICE` (115200 baud, 8N1) or `tcp:HOST:PORT`.

    Raises:
        RigError: not such an address, or it cannot be opened.
    """
    kind, _, rest = address.partition(":")
    openers: dict[str, Callable[[str], Port]] = {"serial": _serial, "tcp": _tcp}
    if kind not in openers or not rest:
        raise RigError(f"controller {address!r}: write serial:DEVICE or tcp:HOST:PORT")
    try:
        return openers[kind](rest)
    except (OSError, termios.error) as error:
        raise RigError(f"cannot open controller {address}: {error}; is it plugged in and yours to open?") from None


def _serial(device: str) -> Port:
    descriptor = os.open(device, os.O_RDWR | os.O_NOCTTY)
    try:
        tty.setraw(descriptor)
        settings = termios.tcgetattr(descriptor)
        settings[4] = settings[5] = BAUD
        termios.tcsetattr(descriptor, termios.TCSANOW, settings)
    except termios.error:
        os.close(descriptor)
        raise
    return FilePort(descriptor)


def _tcp(rest: str) -> Port:
    host, _, port = rest.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise RigError(f"controller tcp:{rest}: write tcp:HOST:PORT, PORT 1 to 65535")
    return TcpPort(socket.create_connection((host, int(port)), timeout=5))
