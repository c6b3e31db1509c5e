"""The engine on a Ray cluster (extra `ray`): copies of a network as a Ray Serve deployment, behind our own front.

Looking at a picture changes nothing, so the front asks again, within the deadline, whenever a copy or its machine is
lost. What must not be done twice (the ledger) is done by the front alone, once, with the answer that it got.
"""

from __future__ import annotations

import itertools
import logging
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from inference_service.errors import ServiceError
from inference_service.looking import Note, Order
from inference_service.replica import Copy, Looked, Refusal
from inference_service.settings import Settings
from model.detector import Detector
from model.grid import StainMap

OPEN_S: Final = 300.0
"""A network's first copies must stand within this time, or the cluster has no room for them."""
DOWN_S: Final = 5.0
"""Nothing but failures for so long: the service says that it is not ready."""
_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0
_PROBE_S: Final = 2.0
_PROBE_ANSWER_S: Final = 5.0
_DEPLOYMENT: Final = "copies"
_LOG: Final = logging.getLogger(__name__)


class Cluster:
    """The workshop on a Ray cluster; see `looking.Workshop`.

    Scans have a memory between their strips, so they are looked at in the front's own process: `open` loads the network
    here too.

    Args:
        settings: ray_address, ray_replicas, ray_attempt_s, threads, and the port, which is part of this front's name.

    Raises:
        ServiceError: unavailable: Ray is not installed.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ray, self._serve = _imported()
        self._name = f"spotgrid-{socket.gethostname()}-{settings.port}"
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._joined = False
        self._stopped = threading.Event()
        self._copies: dict[Detector, tuple[str, Any]] = {}
        self._closing = ThreadPoolExecutor(1, thread_name_prefix="spotgrid-cluster")
        self._answered_at = time.monotonic()
        self._failing_since: float | None = None

    @property
    def trouble(self) -> str:
        """Why no picture can be looked at now; empty = nothing is known to be wrong."""
        since = self._failing_since
        if since is None or time.monotonic() - since < DOWN_S:
            return ""
        return f"the Ray cluster has not answered for {time.monotonic() - since:.0f} s: is its head running?"

    def open(self, path: Path) -> Detector:
        """Load the network here, and let the cluster make the fewest copies of it.

        Raises:
            ServiceError: unavailable: no cluster, or no room on it.
        """
        detector = Detector(path, self._settings.threads_per_picture, self._settings.used_providers)
        self._join()
        name = f"{self._name}-{next(self._numbers)}"
        self._copies[detector] = (name, self._deploy(name, path.read_bytes()))
        return detector

    def look(self, detector: Detector, order: Order, note: Note) -> StainMap:
        """Ask a copy; where it is lost, ask another one, until the deadline.

        Raises:
            ServiceError: deadline, and what the copy refuses.
        """
        began, handle = time.monotonic(), self._copies[detector][1]
        patience_s, pause_s = self._settings.ray_attempt_s, _PAUSE_S
        while (left_s := order.deadline - time.monotonic()) > 0:
            answer = self._ask(handle, order, left_s, min(left_s, patience_s))
            if isinstance(answer, Looked):
                return _map_of(answer, order, began, note)
            if isinstance(answer, TimeoutError):  # lost without a word, or slow: the next one has longer
                patience_s *= 2
            self._failed()
            time.sleep(min(pause_s, max(0.0, order.deadline - time.monotonic())))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        raise ServiceError("deadline", "no machine of the cluster answered before the deadline: allow more time")

    def close(self, detector: Detector) -> None:
        """Take its copies down; they end the pictures that they have."""
        name, _ = self._copies.pop(detector, ("", None))
        if name:
            self._closing.submit(self._delete, name)

    def stop(self) -> None:
        """Wait until copies are taken down, and leave the cluster."""
        self._stopped.set()
        self._closing.shutdown(wait=True)
        with self._lock:
            if self._joined:
                self._ray.shutdown()
                self._joined = False

    def _ask(self, handle: Any, order: Order, left_s: float, patience_s: float) -> Looked | Exception:
        """One attempt; a fault of our own in a copy is raised, not tried again."""
        exceptions, serve_exceptions = self._ray.exceptions, self._serve.exceptions
        response = None
        try:
            response = handle.look.remote(order, left_s)
            answer: Looked = response.result(timeout_s=patience_s)
        except exceptions.RayTaskError:
            raise
        except TimeoutError as error:
            if response is not None:
                response.cancel()
            return error
        except (exceptions.RayError, serve_exceptions.RayServeException, ConnectionError, RuntimeError) as error:
            _LOG.warning("a copy did not answer: %s", _first_line(error))
            return error
        self._answered()
        return answer

    def _failed(self) -> None:
        if self._failing_since is None:
            self._failing_since = time.monotonic()

    def _answered(self) -> None:
        self._failing_since, self._answered_at = None, time.monotonic()

    def _listen(self) -> None:
        """While no picture comes, ask whether anybody is there: a service that is not ready is sent none."""
        while not self._stopped.wait(_PROBE_S):
            handles = [handle for _, handle in self._copies.values()]
            if not handles or time.monotonic() - self._answered_at < _PROBE_S:
                continue
            try:
                handles[-1].ping.remote().result(timeout_s=_PROBE_ANSWER_S)
            except Exception as error:  # whatever it is, it is no answer
                if time.monotonic() - self._answered_at > _PROBE_ANSWER_S:  # busy with pictures is no trouble
                    _LOG.warning("the cluster does not answer: %s", _first_line(error))
                    self._failed()
            else:
                self._answered()

    def _join(self) -> None:
        """Become a client of the cluster, once; what an earlier life of this front left there is taken down."""
        with self._lock:
            if self._joined:
                return
            address = self._settings.ray_address
            try:
                self._ray.init(address, namespace="spotgrid", log_to_driver=False, logging_level=logging.WARNING)
                for logger in map(logging.getLogger, ("ray", "ray.serve")):  # one form for every line of the log
                    logger.handlers[:], logger.propagate = [], True
                self._serve.start(proxy_location="Disabled")  # the front is ours
                for name in self._serve.status().applications:
                    if name.startswith(f"{self._name}-"):
                        self._serve.delete(name)
            except Exception as error:  # Ray raises many kinds, and each means the same here
                self._ray.shutdown()
                raise ServiceError(
                    "unavailable", f"no Ray cluster at {address} ({_first_line(error)}); start one: ray start --head"
                ) from None
            self._joined = True
            threading.Thread(target=self._listen, name="spotgrid-cluster-probe", daemon=True).start()

    def _deploy(self, name: str, network: bytes) -> Any:
        threads, (fewest, most) = self._settings.threads_per_picture, self._settings.ray_replicas
        deployment = self._serve.deployment(
            Copy,
            name=_DEPLOYMENT,
            ray_actor_options={"num_cpus": threads},
            max_ongoing_requests=2,
            autoscaling_config={
                "min_replicas": fewest,
                "max_replicas": most,
                "target_ongoing_requests": 1,
                "upscale_delay_s": 5,
                "downscale_delay_s": 120,
            },
            health_check_period_s=2,
            health_check_timeout_s=10,
            graceful_shutdown_timeout_s=30,
            logging_config={"log_level": "WARNING", "enable_access_log": False},
        )
        return self._run(name, deployment.bind(network, threads, self._settings.used_providers))

    def _run(self, name: str, target: Any) -> Any:
        """The handle of a deployment whose first copies stand."""
        beside = ThreadPoolExecutor(1, thread_name_prefix="spotgrid-deploy")  # Ray itself would wait for ever
        try:
            return beside.submit(self._serve.run, target, name=name, route_prefix=None).result(timeout=OPEN_S)
        except Exception as error:
            self._delete(name)  # which also ends the waiting
            fewest = self._settings.ray_replicas[0]
            told = _first_line(error) or f"{fewest} copies did not start within {OPEN_S:g} s: has it CPUs left?"
            raise ServiceError("unavailable", f"the Ray cluster cannot take the network: {told}") from None
        finally:
            beside.shutdown(wait=False)

    def _delete(self, name: str) -> None:
        try:
            self._serve.delete(name, _blocking=False)
        except Exception as error:
            _LOG.warning("copies were not taken down: %s", _first_line(error))


def _map_of(answer: Looked, order: Order, began: float, note: Note) -> StainMap:
    for stage, seconds in answer.stages:
        note(stage, seconds)
    if isinstance(answer.found, Refusal):
        raise ServiceError(answer.found.slug, answer.found.detail)
    # The age counts by this machine's clock alone: the way there and back, and every attempt.
    return replace(answer.found, age_ms=order.age_ms + 1e3 * (time.monotonic() - began))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0][:300]


def _imported() -> tuple[Any, Any]:
    try:
        import ray
        from ray import serve
    except ModuleNotFoundError as error:
        raise ServiceError(
            "unavailable", f"engine is ray, but {error.name} is missing: pip install 'spotgrid[ray]'"
        ) from None
    return ray, serve
