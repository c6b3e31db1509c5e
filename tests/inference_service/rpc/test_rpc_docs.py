"""docs/service-grpc.md tells every call, limit, refusal and trailer, with the figures of the code."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.link.profiles import PROFILES, Figure
from inference_service.errors import KINDS
from inference_service.proto.spotgrid.v1 import stain_detection_pb2 as pb
from inference_service.rpc import health, problems, scans, server, treatments
from inference_service.rpc.scopes import METHODS
from inference_service.settings import Settings

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "service-grpc.md").read_text()


def test_every_call_has_its_scopes() -> None:
    told = dict(re.findall(r"(?m)^\| `(/[\w./]+)` \|.*\| (.+) \|$", PAGE))
    assert told == {
        method: " or ".join(f"`{scope}`" for scope in sorted(scopes)) or "no key" for method, scopes in METHODS.items()
    }


def test_every_refusal_has_its_code() -> None:
    told = dict(re.findall(r"(?m)^\| `([\w-]+)` \| `([A-Z_]+)` \|$", PAGE))
    assert told == {kind.slug: kind.grpc for kind in KINDS.values()}
    for trailer in (problems.SLUG, problems.RETRY_AFTER_S, problems.PUSHBACK, problems.REQUEST_ID):
        assert f"`{trailer}" in PAGE


def test_limits_are_the_codes() -> None:
    for words in (
        f"{scans.KEPT_PER_KEY} for a key, {scans.KEEP_S:g} s",
        f"kept for {scans.KEEP_S:g} s, at most {scans.KEPT_PER_KEY} for a key",
        f"| watchers of health | {health.MAX_WATCHERS} |",
        f"| events of one message | {treatments.MAX_EVENTS} |",
        f"| streams of one connection | {server._STREAMS_PER_CONNECTION} |",
        f"`max_body_bytes` + {server._HEAD_BYTES >> 10} KiB",
        f"a ping every {server._PING_MS // 1000} s, {server._PING_ANSWER_MS // 1000} s for its answer",
    ):
        assert words in PAGE, words
    limits = re.search(r"## Limits\n(.*?)\n## ", PAGE, re.DOTALL)
    assert limits is not None
    named = set(re.findall(r"`([a-z_]+)`", limits[1])) - set(KINDS)
    assert named <= set(Settings.model_fields)


def test_every_setting_of_a_picture_is_told() -> None:
    assert [field.name for field in pb.Settings.DESCRIPTOR.fields if f"`{field.name}`" not in PAGE] == []


def test_links_are_told_with_their_marks() -> None:
    def shown(figure: Figure) -> str:
        return f"{figure.value:g}{'*' if figure.mark == 'published' else ''}"

    for profile in PROFILES.values():
        ways = (profile.up_mbit_s, profile.down_mbit_s, profile.one_way_ms, profile.jitter_ms, profile.loss)
        assert f"| `{profile.name}` | {' | '.join(map(shown, ways))} |" in PAGE
