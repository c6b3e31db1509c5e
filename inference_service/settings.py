"""What the service may be told: one named setting for each thing, from a TOML file and the environment.

A command-line option beats the environment (`SPOTGRID_SERVE_PORT=9000`), the environment beats the file, the file beats
the defaults. The prefix is not `SPOTGRID_SERVICE_`: Kubernetes itself sets `SPOTGRID_SERVICE_HOST` and `_PORT` in every
pod beside a Service named `spotgrid`.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from model.onnx_file import usable_cpus
from model.providers import check_providers

ENV_PREFIX: Final = "SPOTGRID_SERVE_"


class SettingsError(Exception):
    """The settings cannot be used; one line for each thing that is wrong."""


class Settings(BaseSettings):
    """Everything that can be set. Read them with `Settings.load`; they never change afterwards."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="forbid", frozen=True, env_nested_delimiter=None)

    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 = every network card (then set TLS)")
    port: int = Field(8080, ge=0, le=65535, description="HTTP port; 0 = any free one, told in the log")
    grpc_port: int = Field(8081, ge=0, le=65535, description="gRPC port; 0 = any free one, told in the log")
    forwarded_allow_ips: str = Field(
        "", description="addresses of proxies whose X-Forwarded-For is believed, with commas; empty = none"
    )

    tls_cert: Path | None = Field(None, description="certificate chain (PEM); with it both ports speak TLS only")
    tls_key: Path | None = Field(None, description="the certificate's private key (PEM)")
    tls_client_ca: Path | None = Field(
        None, description="authority (PEM) that must have signed each client's certificate: mutual TLS"
    )

    database_url: str = Field(
        "sqlite:///spotgrid.db",
        description="the ledger: sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/NAME",
    )
    maps_days: int | None = Field(None, ge=1, description="days that stain maps are kept; none = for ever")
    frames_url: str | None = Field(
        None, description="where pictures are kept: a folder or an fsspec URL; none = no picture is kept"
    )
    frames_days: int = Field(7, ge=1, description="days that pictures are kept")

    model_path: Path | None = Field(None, description="the network's file; none = the one that comes with Spotgrid")
    models_dir: Path | None = Field(
        None, description="folder of further NAME.onnx that an admin may load while serving"
    )
    models: tuple[str, ...] = Field((), description="names from models_dir that are loaded at the start as well")
    golden_dir: Path | None = Field(None, description="your own golden pictures that a network must pass beside ours")
    warm_px: tuple[int, int] = Field((1280, 960), description="width and height of the picture that warms a network")
    warm_mm_per_px: float = Field(
        0.25, ge=0.02, le=5, description="its scale, mm per px: set both as your camera has them"
    )
    warm_runs: int = Field(
        8, ge=2, le=50, description="measured runs at most until one is within half as long again of the fast ones"
    )
    warm_budget_ms: float | None = Field(
        None, gt=0, description="a warm network must be this fast, or the service is not ready; none = any steady speed"
    )

    engine: Literal["local", "ray"] = Field(
        "local", description="where pictures are looked at: in this process, or on a Ray cluster (needs spotgrid[ray])"
    )
    ray_address: str = Field(
        "auto", description="the cluster's head as HOST:PORT; auto = the Ray node that runs on this machine"
    )
    ray_replicas: tuple[int, int] = Field(
        (1, 4), description="copies of a network on the cluster, fewest and most; Ray chooses between by the load"
    )
    ray_attempt_s: float = Field(
        10, gt=0, le=3600, description="a copy that has not answered within this time is given up for another one"
    )
    workers: int = Field(
        1, ge=1, le=256, description="pictures that are worked on at a time; with Ray: twice the most ray_replicas"
    )
    threads: int | None = Field(
        None, ge=1, le=256, description="CPU threads for one picture; none = usable CPUs divided by workers; with Ray 1"
    )
    providers: tuple[str, ...] = Field(
        (), description="what runs networks, in order of preference (`spotgrid doctor` lists them); none = the CPU"
    )
    queue_size: int = Field(
        16, ge=0, le=100_000, description="pictures that may wait; one more is answered 429 at once"
    )
    timeout_s: float = Field(
        30, gt=0, le=3600, description="deadline of a call that names none, and the longest allowed"
    )
    max_body_bytes: int = Field(16 << 20, ge=1024, description="largest request body and gRPC message, bytes")
    max_pixels: int = Field(64_000_000, ge=1, description="largest picture, px, read from its header before decoding")
    max_requests: int = Field(
        64, ge=1, description="calls in progress, of HTTP and of gRPC each; one more is answered 429"
    )
    max_connections: int = Field(1000, ge=1, description="HTTP connections at a time; one more is closed at once")
    rate_per_s: float = Field(50, gt=0, description="calls per second and key, on average")
    rate_burst: int = Field(100, ge=1, description="calls that a key may make at once before the rate binds")
    streams_per_key: int = Field(4, ge=1, description="gRPC streams open at a time for one key")
    drain_s: float = Field(30, ge=0, description="on SIGTERM, time for work in progress before it is cut off")

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severe lines written")
    log_format: Literal["auto", "json", "text"] = Field("auto", description="auto = text on a terminal, JSON elsewhere")
    otel_endpoint: str | None = Field(
        None, description="OpenTelemetry collector (OTLP over HTTP), e.g. http://localhost:4318; needs spotgrid[otel]"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Options, then the environment, then the file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @model_validator(mode="after")
    def _check_together(self) -> Settings:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together: give both or neither")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError("tls_client_ca asks clients for certificates, which needs tls_cert and tls_key")
        if self.models and self.models_dir is None:
            raise ValueError("models names files of models_dir, which is not set")
        if self.warm_px[0] * self.warm_px[1] > self.max_pixels:
            raise ValueError("warm_px has more pixels than max_pixels allows")
        if self.providers:  # only then: it loads onnxruntime
            check_providers(self.providers)
        if not 1 <= self.ray_replicas[0] <= self.ray_replicas[1] <= 128:
            raise ValueError(f"ray_replicas is {list(self.ray_replicas)}; give the fewest and the most, 1 to 128")
        for name in ("tls_cert", "tls_key", "tls_client_ca", "model_path"):
            path = getattr(self, name)
            if path is not None and not path.is_file():
                raise ValueError(f"{name} is {path}: there is no such file")
        for name in ("models_dir", "golden_dir"):
            path = getattr(self, name)
            if path is not None and not path.is_dir():
                raise ValueError(f"{name} is {path}: there is no such folder")
        return self

    @property
    def threads_per_picture(self) -> int:
        """`threads`, or an even share of the CPUs that this process may use; one on a cluster, where copies share."""
        if self.engine == "ray":
            return self.threads or 1
        return self.threads or max(1, usable_cpus() // self.workers)

    @property
    def used_providers(self) -> tuple[str, ...] | None:
        """`providers`, None = the CPU."""
        return self.providers or None

    @property
    def places(self) -> int:
        """Pictures that are worked on at a time: on a cluster one at work and one on its way for each copy."""
        return 2 * self.ray_replicas[1] if self.engine == "ray" else self.workers

    @property
    def tls(self) -> bool:
        """Whether both ports speak TLS."""
        return self.tls_cert is not None

    @classmethod
    def load(cls, config: Path | None = None, **given: Any) -> Settings:
        """Read the settings.

        Args:
            config: a TOML file whose keys are the settings' names; None = no file.
            given: settings that beat environment and file; those that are None are left out.

        Raises:
            SettingsError: the file cannot be read, a name is not known, or a value is not allowed.
        """
        if config is not None:
            _check_toml(config)
        unknown = [
            name
            for name in os.environ
            if name.startswith(ENV_PREFIX) and name[len(ENV_PREFIX) :].lower() not in cls.model_fields
        ]
        if unknown:
            raise SettingsError(f"environment: {unknown[0]} is no setting; docs/service.md lists them")

        class FromFile(cls):  # type: ignore[misc, valid-type]  # pydantic-settings ties the file's name to the class
            model_config = SettingsConfigDict(toml_file=config)

        try:
            found: Settings = FromFile(**{name: value for name, value in given.items() if value is not None})
        except ValidationError as error:
            raise SettingsError("\n".join(_line(problem) for problem in error.errors())) from None
        except ValueError as error:  # an environment variable that holds no JSON where a list is wanted
            raise SettingsError(str(error)) from None
        return found

    def shown(self) -> dict[str, Any]:
        """Every setting as it may be printed: passwords in URLs are hidden."""
        found = self.model_dump(mode="json")
        for name in ("database_url", "frames_url", "otel_endpoint"):
            if found[name] is not None:
                found[name] = _without_password(found[name])
        return found


def _check_toml(path: Path) -> None:
    try:
        tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: the settings cannot be read ({error.strerror}); check the path") from None
    except ValueError as error:  # broken TOML and broken UTF-8
        raise SettingsError(f"{path}: not TOML ({error})") from None


def _line(problem: Any) -> str:
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{name} is no setting; docs/service.md lists them"
    reason = str(problem["msg"]).removeprefix("Value error, ")
    return f"{name} is {problem['input']!r}: {reason}" if name else reason


def _without_password(url: str) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):  # not a database's URL: a folder, or an address of another kind
        head, at, tail = url.rpartition("@")
        return f"{head.partition('//')[0]}//***@{tail}" if at else url
