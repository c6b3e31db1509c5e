"""The simulated controller behind a real pty or a real TCP port, in real time: for anything that speaks GRBL."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
import tty
from types import TracebackType
from typing import Self

from hardware.simulator import GrblSimulator

_TICK_S = 0.002


class SimulatorServer:
    """A `GrblSimulator` on the wall clock, served by a thread of its own while the `with` block lasts.

    Args:
        kind: "pty" or "tcp" (loopback, one client).

    `address` is what `hardware.transport.open_port` takes; `simulator` may be asked under `lock`.
    """

    def __init__(self, kind: str = "pty") -> None:
        self.simulator = GrblSimulator(time.monotonic)
        self.lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._listener: socket.socket | None = None
        self._descriptor = self._slave = -1
        if kind == "pty":
            self._descriptor, self._slave = os.openpty()
            tty.setraw(self._slave)
            self.address = f"serial:{os.ttyname(self._slave)}"
        else:
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.address = f"tcp:127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        for descriptor in {self._descriptor, self._slave} - {-1}:
            os.close(descriptor)
        if self._listener is not None:
            self._listener.close()

    def _serve(self) -> None:
        if self._listener is not None:
            self._listener.settimeout(0.1)
            while not self._over.is_set():
                try:
                    client, _ = self._listener.accept()
                except TimeoutError:
                    continue
                self._descriptor = client.detach()
                break
        while not self._over.is_set() and self._turn():
            pass

    def _turn(self) -> bool:
        """Pass bytes both ways once; False when the client has left."""
        ready, _, _ = select.select([self._descriptor], [], [], _TICK_S)
        try:
            data = os.read(self._descriptor, 4096) if ready else b""
            with self.lock:
                self.simulator.receive(data)
                said = self.simulator.transmit()
            while said:
                said = said[os.write(self._descriptor, said) :]
        except OSError:
            return False
        return bool(data) or not ready
