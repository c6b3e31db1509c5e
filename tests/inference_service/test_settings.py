"""Settings: options beat the environment, that beats the file; wrong ones are told in a line; secrets are hidden."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inference_service.settings import ENV_PREFIX, Settings, SettingsError


def test_options_beat_the_environment_that_beats_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "service.toml"
    file.write_text("port = 1\ngrpc_port = 2\nqueue_size = 3\nwarm_px = [640, 480]\n")
    monkeypatch.setenv(f"{ENV_PREFIX}PORT", "10")
    monkeypatch.setenv(f"{ENV_PREFIX}GRPC_PORT", "20")
    found = Settings.load(file, port=100, host=None)
    assert (found.port, found.grpc_port, found.queue_size, found.host) == (100, 20, 3, "127.0.0.1")
    assert found.warm_px == (640, 480)


def test_a_service_in_kubernetes_is_not_confused_by_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOTGRID_SERVICE_HOST", "10.0.0.11")
    monkeypatch.setenv("SPOTGRID_SERVICE_PORT", "80")
    found = Settings.load()
    assert (found.host, found.port) == ("127.0.0.1", 8080)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"port": 70_000}, "port is 70000"),
        ({"workers": 0}, "workers is 0"),
        ({"timeout_s": -1}, "timeout_s is -1"),
        ({"tls_cert": "no.pem"}, "belong together"),
        ({"tls_cert": "no.pem", "tls_key": "no.pem"}, "tls_cert is no.pem: there is no such file"),
        ({"tls_client_ca": "no.pem"}, "needs tls_cert"),
        ({"model_path": "no.onnx"}, "model_path is no.onnx"),
        ({"models_dir": "no-folder"}, "no such folder"),
        ({"models": ["a"]}, "models_dir"),
        ({"max_pixels": 10}, "warm_px"),
        ({"colour": "red"}, "colour is no setting"),
        ({"log_level": "loud"}, "log_level is 'loud'"),
        ({"providers": ["Abacus"]}, "providers are ['Abacus']; there are"),
    ],
)
def test_a_wrong_setting_is_told_in_one_line(given: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.load(**given)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_file_or_environment_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "service.toml"
    for text, told in (("port = ", "not TOML"), ("prot = 1", "prot is no setting"), ('port = "x"', "port is 'x'")):
        file.write_text(text)
        with pytest.raises(SettingsError, match=told):
            Settings.load(file)
    with pytest.raises(SettingsError, match="cannot be read"):
        Settings.load(tmp_path / "none.toml")
    monkeypatch.setenv(f"{ENV_PREFIX}PROT", "1")
    with pytest.raises(SettingsError, match=f"{ENV_PREFIX}PROT is no setting"):
        Settings.load()


def test_an_environment_variable_that_is_no_list_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{ENV_PREFIX}WARM_PX", "wide")
    with pytest.raises(SettingsError, match="warm_px"):
        Settings.load()


def test_printed_settings_hide_passwords() -> None:
    shown = Settings.load(
        database_url="postgresql+psycopg://spot:sesame@db.example/ledger",
        frames_url="s3://key:sesame@bucket/frames",
        otel_endpoint="http://user:sesame@collector:4318",
    ).shown()
    assert "sesame" not in str(shown)
    assert shown["database_url"] == "postgresql+psycopg://spot:***@db.example/ledger"
    assert shown["frames_url"] == "s3://key:***@bucket/frames"
    assert set(shown) == set(Settings.model_fields)


def test_settings_do_not_change() -> None:
    with pytest.raises(Exception, match="frozen"):
        Settings.load().port = 1


def test_threads_are_shared_between_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference_service.settings.usable_cpus", lambda: 8)
    assert Settings.load(workers=2).threads_per_picture == 4
    assert Settings.load(workers=16).threads_per_picture == 1
    assert Settings.load(workers=2, threads=3).threads_per_picture == 3
