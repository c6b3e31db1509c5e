"""What the console reads beside maps: the service's state, and what the savings page may offer."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from savings.inputs import baselines, shops
from tests.inference_service.kit import Served, with_service


def test_status_tells_ages_of_results_and_the_services_time(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        async def status() -> dict[str, object]:
            return dict((await served.client.get("/v1/status", headers=served.auth("report"))).json())

        before = await status()
        assert {count for _, count in before["age_buckets"]} == {0}  # type: ignore[attr-defined]
        age_ms = (await served.detect(age_ms=30_000)).json()["age_ms"]
        after = await status()
        buckets = list(after["age_buckets"])  # type: ignore[call-overload]
        assert buckets[-1] == [None, 1]
        assert [count for _, count in buckets] == sorted(count for _, count in buckets)
        assert [edge for edge, count in buckets[:-1] if count] == [edge for edge, _ in buckets[:-1] if edge >= age_ms]
        assert abs((datetime.fromisoformat(str(after["now"])) - datetime.now(UTC)).total_seconds()) < 60
        assert after["pictures_kept"] is False

    with_service(tmp_path, steps)


def test_status_tells_that_pictures_are_kept(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        answer = await served.client.get("/v1/status", headers=served.auth())
        assert answer.json()["pictures_kept"] is True

    with_service(tmp_path, steps, ready=False, frames_url=str(tmp_path / "frames"))


def test_the_savings_page_is_told_what_it_may_offer(tmp_path: Path) -> None:
    async def steps(served: Served) -> None:
        for region in ("cn", "eu", "us"):
            query = {"region": region}
            url = "/v1/reports/savings/live"
            told = (await served.client.get(url, params=query, headers=served.auth("report"))).json()
            assert told["baselines"] == {name: dict(labels) for name, labels in baselines().items()}
            assert told["shops"] == {name: dict(labels) for name, labels in shops(region).items()}
            assert told["chosen"]["region"] == region
            assert told["chosen"]["baseline"] in told["baselines"]
            assert told["chosen"]["shop"] in told["shops"]
            assert {"en", "zh"} <= set(told["shops"][told["chosen"]["shop"]])

    with_service(tmp_path, steps, ready=False)
