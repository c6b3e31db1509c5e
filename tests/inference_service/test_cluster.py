"""The front of a Ray cluster, against a Ray of our own that fails at will: what is asked again, and what is not."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from inference_service import cluster
from inference_service.cluster import Cluster
from inference_service.errors import ServiceError
from inference_service.looking import Order, look
from inference_service.models import Models
from inference_service.replica import Copy, Looked, Refusal
from inference_service.settings import Settings, SettingsError
from model.detector import Detector
from tests.inference_service.kit import picture, settings

Answer = Callable[[Order, float], Any]


class RayError(Exception):
    """A machine is lost."""


class RayTaskError(RayError):
    """Our own code failed in a copy."""


class ServeError(Exception):
    """No copy is there."""


class FakeRay:
    """Ray and Ray Serve: one copy in this process, and a list of what it does first instead of looking."""

    def __init__(self) -> None:
        self.mishaps: list[Exception] = []
        self.patience: list[float] = []
        self.cancelled = 0
        self.applications: dict[str, Any] = {}
        self.joined = False
        self.unreachable = False
        self.full = False
        self.exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError, RayServeException=ServeError)

    def init(self, address: str, **_: Any) -> None:
        if self.unreachable:
            raise ConnectionError("nobody listens")
        self.joined = True

    def shutdown(self) -> None:
        self.joined = False

    def start(self, **_: Any) -> None:
        pass

    def status(self) -> Any:
        return SimpleNamespace(applications=dict(self.applications))

    def delete(self, name: str, _blocking: bool = True) -> None:
        self.applications.pop(name, None)

    def deployment(self, made: type[Copy], **_: Any) -> Any:
        return SimpleNamespace(bind=made)

    def run(self, target: Copy, name: str, route_prefix: None) -> Any:
        if self.full:
            raise RuntimeError("no room")
        self.applications[name] = target
        return SimpleNamespace(
            look=SimpleNamespace(remote=lambda order, left_s: self._response(target.look(order, left_s))),
            ping=SimpleNamespace(remote=lambda: self._response(target.ping())),
        )

    def _response(self, work: Any) -> Any:
        def result(timeout_s: float) -> Any:
            self.patience.append(timeout_s)
            if self.mishaps:
                work.close()
                raise self.mishaps.pop(0)
            return asyncio.run(work)

        return SimpleNamespace(result=result, cancel=self._cancel)

    def _cancel(self) -> None:
        self.cancelled += 1


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    fake = FakeRay()
    monkeypatch.setattr(cluster, "_imported", lambda: (fake, fake))
    monkeypatch.setattr(cluster, "_PROBE_S", 300.0)
    return fake


def of_ray(folder: Path, **given: Any) -> Settings:
    return settings(folder, **{"engine": "ray", "ray_replicas": (1, 2), **given})


def order(**given: Any) -> Order:
    limits = {"max_body_bytes": 10**6, "max_pixels": 10**6, "deadline": time.monotonic() + 60}
    return Order(picture(), **{**limits, "mm_per_px": 0.5, **given})


def unnoted(stage: str, seconds: float) -> None:
    pass


def opened(folder: Path, **given: Any) -> tuple[Cluster, Detector]:
    wanted = of_ray(folder, **given)
    workshop = Cluster(wanted)
    assert wanted.model_path is not None
    return workshop, workshop.open(wanted.model_path)


def test_a_picture_is_looked_at_over_there_and_its_age_counts_here(tmp_path: Path, ray: FakeRay) -> None:
    workshop, detector = opened(tmp_path)
    stages: list[str] = []
    found = workshop.look(detector, order(age_ms=500), lambda stage, _: stages.append(stage))
    want = look(detector, order(), unnoted)
    assert found.to_json()["cells"] == want.to_json()["cells"] != []
    assert found.age_ms > 500
    assert stages == ["decode", "detect"]
    workshop.stop()
    assert not ray.joined


@pytest.mark.parametrize("mishap", [RayError("died"), ServeError("none"), ConnectionError("cut"), TimeoutError()])
def test_what_was_lost_is_asked_again(tmp_path: Path, ray: FakeRay, mishap: Exception) -> None:
    workshop, detector = opened(tmp_path, ray_attempt_s=3)
    ray.mishaps, ray.patience = [mishap] * 3, []
    assert len(workshop.look(detector, order(), unnoted)) == 1
    lost = isinstance(mishap, TimeoutError)
    assert [round(each) for each in ray.patience[:4]] == ([3, 6, 12, 24] if lost else [3, 3, 3, 3])
    assert ray.cancelled == (3 if lost else 0)
    workshop.stop()


def test_a_fault_of_ours_is_not_asked_again(tmp_path: Path, ray: FakeRay) -> None:
    workshop, detector = opened(tmp_path)
    ray.mishaps = [RayTaskError("division by zero")]
    with pytest.raises(RayTaskError):
        workshop.look(detector, order(), unnoted)
    workshop.stop()


def test_a_refusal_comes_back_as_one(tmp_path: Path, ray: FakeRay) -> None:
    workshop, detector = opened(tmp_path)
    for wrong, slug in (({"max_pixels": 10}, "too-large"), ({"preset": "none"}, "bad-request")):
        with pytest.raises(ServiceError) as caught:
            workshop.look(detector, order(**wrong), unnoted)
        assert caught.value.kind.slug == slug
    workshop.stop()


def test_nothing_is_asked_after_the_deadline(tmp_path: Path, ray: FakeRay) -> None:
    workshop, detector = opened(tmp_path)
    ray.mishaps = [RayError("died")] * 10_000
    began = time.monotonic()
    with pytest.raises(ServiceError, match="before the deadline"):
        workshop.look(detector, order(deadline=began + 0.3), unnoted)
    assert 0.25 < time.monotonic() - began < 30
    ray.mishaps = []
    workshop.stop()


def test_a_silent_cluster_is_not_ready_until_it_answers(
    tmp_path: Path, ray: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_PROBE_S", 0.01)
    monkeypatch.setattr(cluster, "_PROBE_ANSWER_S", 0.0)
    monkeypatch.setattr(cluster, "DOWN_S", 0.05)
    workshop, _ = opened(tmp_path)
    assert workshop.trouble == ""
    ray.mishaps = [RayError("died")] * 10_000
    wait_until(lambda: "is its head running" in workshop.trouble)
    ray.mishaps = []
    wait_until(lambda: workshop.trouble == "")
    workshop.stop()


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_networks_come_and_go_with_their_copies(tmp_path: Path, ray: FakeRay) -> None:
    given = of_ray(tmp_path)
    workshop = Cluster(given)
    ray.applications = {f"{workshop._name}-7": "of an earlier life", "somebody else's": ""}
    models = Models(given, workshop)
    models.start()
    assert sorted(ray.applications) == ["somebody else's", f"{workshop._name}-1"]
    with models.lease() as detector:
        assert len(workshop.look(detector, order(), unnoted)) == 1
    models.stop()
    workshop.stop()
    assert list(ray.applications) == ["somebody else's"]


@pytest.mark.parametrize(("flaw", "told"), [("unreachable", "no Ray cluster at auto"), ("full", "no room")])
def test_a_cluster_that_cannot_be_used_is_told(tmp_path: Path, ray: FakeRay, flaw: str, told: str) -> None:
    setattr(ray, flaw, True)
    models = Models(of_ray(tmp_path), Cluster(of_ray(tmp_path)))
    with pytest.raises(ServiceError, match=told):
        models.start()
    assert ray.applications == {}
    setattr(ray, flaw, False)
    models.start()
    models.stop()
    models.workshop.stop()


def test_without_ray_it_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ServiceError, match=r"spotgrid\[ray\]"):
        Cluster(of_ray(tmp_path))


def test_a_copy_starts_nothing_late(tmp_path: Path) -> None:
    path = settings(tmp_path).model_path
    assert path is not None
    copy = Copy(path.read_bytes(), 1)

    async def steps() -> list[Looked]:
        return [await copy.look(order(), left_s) for left_s in (0.0, 60.0)]

    late, found = asyncio.run(steps())
    assert isinstance(late.found, Refusal)
    assert (late.found.slug, late.stages) == ("deadline", ())
    assert [stage for stage, _ in found.stages] == ["decode", "detect"]
    assert asyncio.run(copy.ping()).startswith("toy@")


def test_places_follow_the_copies(tmp_path: Path) -> None:
    assert (of_ray(tmp_path).places, of_ray(tmp_path, threads=None).threads_per_picture) == (4, 1)
    assert settings(tmp_path, workers=3).places == 3
    with pytest.raises(SettingsError, match="ray_replicas"):
        of_ray(tmp_path, ray_replicas=(3, 2))
