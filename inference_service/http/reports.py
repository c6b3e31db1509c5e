"""`GET /v1/reports/savings`: the report of `spotgrid report`, over the service's own ledger."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from fastapi import FastAPI, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from inference_service.errors import ServiceError
from inference_service.http.detect import deadline_of
from inference_service.http.routing import answer, route

if TYPE_CHECKING:
    from inference_service.service import Service
    from savings.inputs import InputSet

_MEDIA: Final = (
    "text/html",
    "application/pdf",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "text/csv",
    "application/json",
)
_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; frame-ancestors 'self'; sandbox"
)
"""The page carries its style inside it; it may run nothing and fetch nothing."""


class LiveQuery(BaseModel):
    """The shop, and the figures that are moved."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    region: Literal["cn", "eu", "us"] | None = None
    baseline: str | None = Field(None, max_length=64, description="the process to compare with")
    shop: str | None = Field(None, max_length=64)
    sets: list[Annotated[str, Field(max_length=500)]] = Field([], alias="set", max_length=100, description="KEY=VALUE")
    seed: int = Field(1, ge=0, le=2**32 - 1)


class ReportQuery(LiveQuery):
    """What the report is of, and how it is written."""

    format: Literal["html", "pdf", "xlsx", "csv", "json"] = "json"
    lang: Literal["en", "zh"] = "en"
    since: date | None = Field(None, alias="from", description="first day of the ledger's period")
    until: date | None = Field(None, alias="to", description="last day, included")
    site: str | None = Field(None, max_length=128)
    draws: int = Field(100_000, ge=1_000, le=1_000_000, description="Monte-Carlo draws")
    planned: bool = Field(False, description="true = leave the ledger out")


def add(app: FastAPI, service: Service) -> None:
    """Add the routes."""

    async def savings(request: Request, query: Annotated[ReportQuery, Query()]) -> Response:
        deadline = deadline_of(request, None, service.settings.timeout_s)
        return await service.reports.run(lambda: _report(service, query), deadline)

    async def live(request: Request, query: Annotated[LiveQuery, Query()]) -> Response:
        deadline = deadline_of(request, None, service.settings.timeout_s)
        return await service.reports.run(lambda: _live(query), deadline)

    told = "the report; html, pdf and xlsx stand by themselves"
    path = "/v1/reports/savings"
    route(app, "GET", path, savings, "What cleaning by the cell saves", told, media=_MEDIA)
    told = "the headline and cost groups (spotgrid.live/v1), and the sliders to offer"
    route(app, "GET", f"{path}/live", live, "The answer to moved figures, in tens of ms", told)


def _inputs(query: LiveQuery) -> InputSet:
    from savings.inputs import load

    return load(query.region, query.baseline, query.shop, None, query.sets)


def _report(service: Service, query: ReportQuery) -> Response:
    from savings.errors import SavingsError
    from savings.ledger import SqlLedger
    from savings.measured import Period
    from savings.render import MEDIA_TYPES, render
    from savings.report import build

    if query.since and query.until and query.since > query.until:
        raise ServiceError("bad-request", f"from is {query.since}, which lies after to, {query.until}")
    try:
        report = build(
            _inputs(query),
            ledger=None if query.planned else SqlLedger(service.ledger_url()),
            period=Period(query.since, query.until, query.site),
            keep=frozenset(text.partition("=")[0].strip() for text in query.sets),
            draws=query.draws,
            seed=query.seed,
        )
        content = render(report, query.format, query.lang)
    except SavingsError as error:
        raise ServiceError("bad-request", str(error)) from None
    headers = {"Content-Disposition": f'inline; filename="savings.{query.format}"'}
    if query.format == "html":
        headers["Content-Security-Policy"] = _POLICY
    return Response(content, 200, headers, MEDIA_TYPES[query.format])


def _live(query: LiveQuery) -> Response:
    from savings.errors import SavingsError
    from savings.inputs import baselines, shops
    from savings.report import live, sliders

    try:
        inputs = _inputs(query)
        found: dict[str, Any] = live(inputs=inputs, seed=query.seed)
        chosen = {"region": inputs.region, "baseline": inputs.baseline, "shop": inputs.shop}
        offers = {"baselines": baselines(), "shops": shops(inputs.region), "chosen": chosen}
        return answer({**found, "sliders": sliders(inputs), **offers})
    except SavingsError as error:
        raise ServiceError("bad-request", str(error)) from None
