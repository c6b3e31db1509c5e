"""The service over HTTP."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import Any, Final, Self
from urllib.parse import quote

import httpx

from inference_service import wire
from inference_service.client.backoff import Backoff, retrying
from inference_service.client.errors import UNREACHABLE, ClientError
from inference_service.client.options import Event, Options, Tls, check_key
from inference_service.client.recorded import Recorded
from model.calibration import Calibration
from model.grid import StainMap

_PROTOBUF: Final = {"Accept": wire.CONTENT_TYPE}


class AsyncHttpClient:
    """Calls over HTTP; one event loop, any number of tasks.

    Args:
        url: `http://HOST:PORT` or `https://...`.
        key: the access key.
        timeout_s: for a call, all its tries together.
        tls: certificates, for https.
        transport: httpx's, for tests.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout_s: float = 60.0,
        tls: Tls | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {check_key(key)}"},
            verify=True if tls is None else tls.context(),
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def ready(self) -> bool:
        """Whether the service says that it is ready; False also where it cannot be reached."""
        with contextlib.suppress(httpx.HTTPError):
            return (await self._http.get("/readyz", timeout=5)).status_code == 200
        return False

    async def detect(self, picture: bytes, options: Options, age_ms: float = 0.0) -> StainMap:
        """The stain map of a JPEG or PNG, `age_ms` old.

        Tried again when the service is full or away. A try whose answer was lost may leave its map in the ledger too.

        Raises:
            ClientError: what the service refused, or that it cannot be reached.
        """
        query = {**options.query(), "age_ms": f"{age_ms:.1f}"}
        given = {"params": query, "content": picture, "headers": _PROTOBUF}
        answer = await self._call("POST", "/v1/detect", **given)
        return wire.map_from_bytes(answer.content)

    async def stain_map(self, map_id: str) -> StainMap:
        """A map from the ledger.

        Raises:
            ClientError: as `detect`.
        """
        path = f"/v1/stainmaps/{quote(map_id, safe='')}"
        return wire.map_from_bytes((await self._call("GET", path, headers=_PROTOBUF)).content)

    async def put_calibration(self, calibration: Calibration) -> None:
        """Let the service keep a calibration under its id.

        Raises:
            ClientError: as `detect`.
        """
        path = f"/v1/calibrations/{quote(str(calibration.id), safe='')}"
        await self._call("PUT", path, json=calibration.to_json())

    async def record_treatments(self, events: Sequence[Event]) -> Recorded:
        """Put events on the service's disk; when this returns they are there, each once.

        Raises:
            ClientError: as `detect`.
        """
        listed = [{**event.body, "schema": wire.EVENT_SCHEMA, "id": event.id} for event in events]
        answer = (await self._call("POST", "/v1/treatments", json={"events": listed})).json()
        outcomes = [result["outcome"] for result in answer["results"]]
        return Recorded(outcomes.count("stored"), outcomes.count("duplicate"))

    async def _call(self, method: str, path: str, **given: Any) -> httpx.Response:
        async def once(left_s: float) -> httpx.Response:
            try:
                answer = await self._http.request(method, path, timeout=left_s, **given)
            except httpx.HTTPError as error:
                reason = str(error) or type(error).__name__
                raise ClientError(UNREACHABLE, f"{self._http.base_url} did not answer: {reason}") from None
            if answer.is_success:
                return answer
            raise refusal(answer)

        return await retrying(once, self._timeout_s, Backoff())


def refusal(answer: httpx.Response) -> ClientError:
    """What an answer of 4xx or 5xx says."""
    try:
        problem = json.loads(answer.content)
        slug = "http" if problem["type"] == "about:blank" else str(problem["type"]).rpartition(":")[2]
        return ClientError(slug, str(problem["detail"]), problem.get("retry_after_s"))
    except (ValueError, KeyError, TypeError):  # not ours: a proxy in between
        slug = "unavailable" if answer.status_code in {502, 503, 504} else "http"
        return ClientError(slug, f"HTTP status {answer.status_code} {answer.reason_phrase}")
