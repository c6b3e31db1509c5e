"""Networks are tried before they serve, replaced without a gap, freed when drained, and taken back."""

from __future__ import annotations

import gc
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest

from inference_service.errors import ServiceError
from inference_service.models import Models
from inference_service.settings import Settings
from tests.inference_service.kit import settings
from tests.model.toy_onnx import write_toy


def toy(folder: Path, name: str, version: str = "0.0.1", **more: Any) -> Path:
    folder.mkdir(exist_ok=True)
    return write_toy(folder / f"{name}.onnx", settings={"name": "toy", "version": version}, **more)


@pytest.fixture
def shop(tmp_path: Path) -> Settings:
    """Two further networks in a folder, one of which is broken."""
    toy(tmp_path / "models", "two", "0.0.2")
    toy(tmp_path / "models", "blind", "0.0.3", stain_gain=0.0)
    return settings(tmp_path, models_dir=tmp_path / "models")


@pytest.fixture
def models(shop: Settings) -> Models:
    made = Models(shop)
    made.start()
    return made


def slug(caught: pytest.ExceptionInfo[ServiceError]) -> str:
    return caught.value.kind.slug


def states(models: Models) -> dict[str, str]:
    return {version.info.version: version.state for version in models.versions()}


def test_nothing_serves_before_the_start_and_the_reason_is_told(shop: Settings) -> None:
    models = Models(shop)
    assert not models.ready
    with pytest.raises(ServiceError, match="loaded and warmed") as caught, models.lease():
        pass
    assert slug(caught) == "unavailable"
    assert caught.value.retry_after_s


@pytest.mark.parametrize("kind", ["missing", "blind"])
def test_a_bad_network_at_the_start_is_never_ready(tmp_path: Path, kind: str) -> None:
    path = toy(tmp_path, "bad", stain_gain=0.0) if kind == "blind" else tmp_path / "bad.onnx"
    path.touch()
    models = Models(settings(tmp_path, model_path=path))
    with pytest.raises(ServiceError):
        models.start()
    assert not models.ready
    assert "bad" in models.trouble or "toy" in models.trouble


def test_further_networks_of_the_settings_are_loaded_too(tmp_path: Path) -> None:
    toy(tmp_path / "models", "two", "0.0.2")
    models = Models(settings(tmp_path, models_dir=tmp_path / "models", models=["two"]))
    models.start()
    assert models.current.name == "toy"
    for wanted in ("two", "toy@0.0.2", models.find("two").info.id):
        assert models.find(wanted).info.version == "0.0.2"
    with pytest.raises(ServiceError, match="there are toy, two") as caught:
        models.find("three")
    assert slug(caught) == "not-found"


def test_a_new_one_takes_over_and_the_old_one_waits_to_be_taken_back(models: Models) -> None:
    old = models.current
    fresh = models.load("two")
    assert models.current is fresh
    assert fresh.warm_ms > 0
    assert states(models) == {"0.0.2": "serving", "0.0.1": "serving"}
    assert models.rollback() is old
    assert states(models) == {"0.0.1": "serving"}
    assert (fresh.state, fresh.detector) == ("freed", None)
    with pytest.raises(ServiceError, match="no earlier network") as caught:
        models.rollback()
    assert slug(caught) == "conflict"


def test_a_file_that_changed_under_its_name_is_taken_up_and_taken_back(models: Models, shop: Settings) -> None:
    assert shop.models_dir is not None
    models.load("two")
    toy(shop.models_dir, "two", "0.1.0")
    models.load("two")
    assert (models.find("two").info.version, states(models)["0.0.2"]) == ("0.1.0", "standby")
    assert models.rollback().info.version == "0.0.2"
    assert models.find("two").info.version == "0.0.2"


@pytest.mark.parametrize(("name", "wanted"), [("blind", "unavailable"), ("none", "not-found"), ("../toy", "not-found")])
def test_what_does_not_pass_changes_nothing(models: Models, name: str, wanted: str) -> None:
    before = models.current
    with pytest.raises(ServiceError) as caught:
        models.load(name)
    assert slug(caught) == wanted
    assert models.current is before
    assert states(models) == {"0.0.1": "serving"}


def test_no_folder_no_loading(tmp_path: Path) -> None:
    models = Models(settings(tmp_path))
    with pytest.raises(ServiceError, match="models_dir names no folder"):
        models.load("two")


def test_a_lease_outlives_any_number_of_swaps(models: Models) -> None:
    with models.lease() as held:
        first = models.current
        for _ in range(3):
            models.load("two")
        models.unload("toy")
        assert first.state == "draining"
        assert held.info.version == "0.0.1"
    assert (first.state, first.detector) == ("freed", None)


def test_a_drained_network_leaves_memory(models: Models) -> None:
    with models.lease() as detector:
        gone = weakref.ref(detector)
        del detector
        models.load("two")
        models.unload("toy")
        assert gone() is not None
    gc.collect()
    assert gone() is None


def test_only_one_that_does_not_serve_can_be_unloaded(models: Models) -> None:
    with pytest.raises(ServiceError, match="serves") as caught:
        models.unload("toy")
    assert slug(caught) == "conflict"
    models.load("two")
    models.unload("toy")
    with pytest.raises(ServiceError, match="no earlier"):
        models.rollback()


def test_one_load_at_a_time(models: Models) -> None:
    with models._loading, pytest.raises(ServiceError, match="another network is being loaded") as caught:
        models.load("two")
    assert slug(caught) == "conflict"


def test_leases_from_many_threads_never_meet_a_freed_network(models: Models) -> None:
    stop, broken = threading.Event(), []

    def use() -> None:
        while not stop.is_set():
            with models.lease() as detector:
                if detector.info.name != "toy":
                    broken.append(detector)

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(2):
            models.load("two")
            models.rollback()
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert broken == []
    assert [version.leases for version in models.versions()] == [0]


def test_after_the_stop_all_is_freed(models: Models) -> None:
    models.load("two")
    versions = models.versions()
    models.stop()
    assert [version.state for version in versions] == ["freed", "freed"]
    assert not models.ready
