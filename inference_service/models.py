"""The networks that serve: several by name, replaced while work goes on, taken back when they disappoint.

A new one is loaded, checked on golden pictures and measured warm beside the old one; only then does it take over. The
old one ends the work that it has, then its memory is freed. The one that served before stays loaded, for `rollback`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from inference_service import golden
from inference_service.errors import ServiceError
from inference_service.looking import Local, Order, Workshop
from inference_service.settings import Settings
from model.detector import Detector
from model.grid import StainMap
from model.onnx_file import SHIPPED, ModelFileError, ModelInfo

_TRIAL_S: Final = 600.0
"""No picture of a trial takes longer, even the first one."""
_TRIAL_PX: Final = 64_000_000
"""Golden pictures are not a caller's: they may be larger than `max_pixels`."""
State = Literal["serving", "standby", "draining", "freed"]


@dataclass(eq=False)
class Version:
    """One loaded network.

    Args:
        name: what calls ask for: the file's name without `.onnx`.
        info: what the file says of itself.
        warm_ms: the measured run that made it ready.
        leases: pieces of work that use it now.
    """

    name: str
    info: ModelInfo
    warm_ms: float
    state: State = "serving"
    leases: int = 0
    loaded_at: float = field(default_factory=time.time)
    detector: Detector | None = None

    def answers_to(self, wanted: str) -> bool:
        """Whether `wanted` names this one: file name, ``name@version`` or the full id of stain maps."""
        return wanted in (self.name, self.info.name, f"{self.info.name}@{self.info.version}", self.info.id)


class Models:
    """All loaded networks; for any number of threads.

    `load`, `start` and `rollback` block for as long as they take: call them beside the event loop.

    Args:
        settings: which networks, and how they are tried.
        workshop: where they are opened; None = in this process.
    """

    def __init__(self, settings: Settings, workshop: Workshop | None = None) -> None:
        self._settings = settings
        self.workshop: Final = workshop or Local(settings.threads_per_picture, settings.used_providers)
        self._lock = threading.Lock()
        self._loading: Final = threading.Lock()
        self._serving: dict[str, Version] = {}
        self._current: Version | None = None
        self._before: Version | None = None
        self._draining: list[Version] = []
        self.trouble = "the network is being loaded and warmed"

    @property
    def ready(self) -> bool:
        """Whether a network serves: one does only when it was measured warm and passed its golden pictures."""
        return self._current is not None

    @property
    def current(self) -> Version:
        """The one that calls get when they name none.

        Raises:
            ServiceError: unavailable: none is ready yet; the detail says why.
        """
        current = self._current
        if current is None:
            raise ServiceError("unavailable", f"not ready: {self.trouble}", retry_after_s=2.0)
        return current

    def versions(self) -> list[Version]:
        """All that are in memory."""
        with self._lock:
            known = [*self._serving.values(), *([self._before] if self._before else []), *self._draining]
        return list(dict.fromkeys(known))

    def find(self, wanted: str | None) -> Version:
        """The serving version that `wanted` names; None = the current one.

        Raises:
            ServiceError: not-found, or unavailable while none is ready.
        """
        current, serving = self.current, dict(self._serving)
        if wanted is None:
            return current
        if wanted in serving:  # a file's name is the one that is never ambiguous
            return serving[wanted]
        for version in (current, *serving.values()):
            if version.answers_to(wanted):
                return version
        raise ServiceError("not-found", f"no network {wanted!r} serves; there are {', '.join(sorted(serving))}")

    @contextmanager
    def lease(self, wanted: str | None = None) -> Iterator[Detector]:
        """Hold a network: it stays in memory until the block ends, whatever is loaded meanwhile.

        Raises:
            ServiceError: see `find`.
        """
        with self._lock:
            version = self.find(wanted)
            version.leases += 1
            detector = version.detector
        assert detector is not None, "a serving version has its detector"
        try:
            yield detector
        finally:
            del detector
            with self._lock:
                version.leases -= 1
                self._free_drained()

    def start(self) -> None:
        """Load the network of the settings, and the others named there.

        Raises:
            ServiceError: unavailable: a file is no network of ours, does not pass, or is not warm.
        """
        settings = self._settings
        path = settings.model_path or SHIPPED
        try:
            first = self._try_out(path.stem, path)
            others = [self._try_out(name, self._path(name)) for name in settings.models]
        except ServiceError as error:
            self.trouble = error.detail
            raise
        with self._lock:
            self._serving = {version.name: version for version in (*others, first)}
            self._current = first

    def load(self, name: str) -> Version:
        """Load `models_dir/NAME.onnx` anew and let it take over; on any trouble the old one simply goes on.

        Raises:
            ServiceError: not-found, conflict (another load is at work), unavailable (it did not pass; nothing changed).
        """
        path = self._path(name)
        if not self._loading.acquire(blocking=False):
            raise ServiceError("conflict", "another network is being loaded; wait until it serves", 5.0)
        try:
            fresh = self._try_out(name, path)
            with self._lock:
                replaced = self._serving.get(name)
                self._take_over(fresh)
                if replaced is not None and replaced is not self._before:
                    self._retire(replaced)
            return fresh
        finally:
            self._loading.release()

    def rollback(self) -> Version:
        """Let the version that served before take over again; the present one is let go.

        Raises:
            ServiceError: conflict: there is none.
        """
        with self._lock:
            before, current = self._before, self.current
            if before is None:
                raise ServiceError("conflict", "no earlier network is loaded to go back to; load one by its name")
            self._before = None
            if before.name != current.name:
                del self._serving[current.name]
            self._serving[before.name] = before
            before.state, self._current = "serving", before
            self._retire(current)
            return before

    def unload(self, name: str) -> Version:
        """Let a version go that is not the current one.

        Raises:
            ServiceError: not-found, or conflict: it is the one that serves.
        """
        with self._lock:
            version = self.find(name)
            if version is self._current:
                raise ServiceError("conflict", f"{name} serves; load another network or roll back first")
            del self._serving[version.name]
            if version is self._before:
                self._before = None
            self._retire(version)
            return version

    def stop(self) -> None:
        """Free everything; what is leased ends first."""
        with self._lock:
            for version in {*self._serving.values(), *([self._before] if self._before else [])}:
                self._retire(version)
            self._serving, self._current, self._before = {}, None, None
            self.trouble = "the service is stopping"

    def _take_over(self, fresh: Version) -> None:
        """Make `fresh` the current one, the current one the one before, and let the older one before go."""
        oldest, self._before = self._before, self._current
        self._serving[fresh.name] = fresh
        self._current = fresh
        if self._before is not None and self._before not in self._serving.values():
            self._before.state = "standby"
        if oldest is not None and oldest not in (*self._serving.values(), self._before):
            self._retire(oldest)

    def _retire(self, version: Version) -> None:
        if version.state not in ("draining", "freed"):
            version.state = "draining"
            self._draining.append(version)
        self._free_drained()

    def _free_drained(self) -> None:
        for version in [version for version in self._draining if not version.leases]:
            self._draining.remove(version)
            if version.detector is not None:
                self.workshop.close(version.detector)
            version.state, version.detector = "freed", None

    def _path(self, name: str) -> Path:
        folder = self._settings.models_dir
        if folder is None:
            raise ServiceError("not-found", "no further networks can be loaded: the setting models_dir names no folder")
        known = {path.stem: path for path in sorted(folder.glob("*.onnx"))}
        if name not in known:
            raise ServiceError("not-found", f"models_dir has no {name!r}; it has {', '.join(known) or 'no network'}")
        return known[name]

    def _try_out(self, name: str, path: Path) -> Version:
        """Load, check and warm one; nothing else is touched."""
        settings = self._settings
        try:
            detector = self.workshop.open(path)
        except ModelFileError as error:
            raise ServiceError("unavailable", str(error)) from None

        def look(picture: bytes, mm_per_px: float) -> StainMap:
            return self.workshop.look(detector, self._trial(picture, mm_per_px), _unnoted)

        try:
            own = golden.from_folder(settings.golden_dir) if settings.golden_dir else ()
            golden.check(look, detector.info.id, (*golden.ours(), *own))
            warm_ms = golden.warm(
                lambda picture: look(picture, settings.warm_mm_per_px),
                settings.warm_px,
                settings.warm_mm_per_px,
                settings.warm_runs,
                settings.warm_budget_ms,
            )
        except BaseException:
            self.workshop.close(detector)
            raise
        return Version(name, detector.info, warm_ms, detector=detector)

    def _trial(self, picture: bytes, mm_per_px: float) -> Order:
        """An order like a rig's, for a picture of our own."""
        return Order(
            picture,
            max_body_bytes=len(picture),
            max_pixels=max(self._settings.max_pixels, _TRIAL_PX),
            deadline=time.monotonic() + _TRIAL_S,
            mm_per_px=mm_per_px,
        )


def _unnoted(stage: str, seconds: float) -> None:
    """What warms is not among the figures."""
