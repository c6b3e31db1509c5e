"""Links between a rig and its service, as figures: each with its source, or marked as an assumption."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_ITU: Final = "ITU-R M.2410-0 (11/2017)"


@dataclass(frozen=True)
class Figure:
    """One number.

    Args:
        value: in the unit that the field's name says.
        mark: published, derived or assumption.
        source: where it stands, or what the assumption rests on.
    """

    value: float
    mark: str
    source: str


@dataclass(frozen=True)
class Profile:
    """One kind of link.

    Args:
        name: of the profile.
        up_mbit_s, down_mbit_s: what one user has.
        one_way_ms: smallest delay in one direction.
        jitter_ms: mean of what comes on top, exponentially distributed.
        loss: share of packets that are sent again, each a stall for what follows it in the stream.
        stall_ms: how long one such stall lasts.
    """

    name: str
    up_mbit_s: Figure
    down_mbit_s: Figure
    one_way_ms: Figure
    jitter_ms: Figure
    loss: Figure
    stall_ms: Figure


def _assumed(value: float, why: str) -> Figure:
    return Figure(value, "assumption", why)


_RTO: Final = _assumed(200.0, "Linux's smallest TCP retransmission timeout; fast retransmission is quicker")

PROFILES: Final = {
    profile.name: profile
    for profile in (
        Profile(
            "4g",
            _assumed(10.0, "a loaded LTE cell, one user's uplink"),
            _assumed(30.0, "a loaded LTE cell, one user's downlink"),
            _assumed(25.0, "half of a 50 ms round trip to a server in the same country"),
            _assumed(10.0, "scheduling grants and hybrid ARQ of some 8 ms each"),
            _assumed(0.001, "what remains after the radio's own retransmissions"),
            _RTO,
        ),
        Profile(
            "wifi",
            _assumed(100.0, "802.11ac, one stream, shared channel"),
            _assumed(100.0, "802.11ac, one stream, shared channel"),
            _assumed(2.0, "access point and service in one building"),
            _assumed(5.0, "contention: the channel is busy when the frame is ready"),
            _assumed(0.002, "what remains after the radio's own retransmissions"),
            _RTO,
        ),
        Profile(
            "5g-embb",
            Figure(50.0, "published", f"{_ITU} 4.3: user experienced data rate, uplink, dense urban"),
            Figure(100.0, "published", f"{_ITU} 4.3: user experienced data rate, downlink, dense urban"),
            Figure(4.0, "published", f"{_ITU} 4.7.1: user plane latency, eMBB (radio only)"),
            _assumed(2.0, "TDD frame alignment and core network"),
            _assumed(0.0005, "what remains after the radio's own retransmissions"),
            _RTO,
        ),
        Profile(
            "5g-urllc",
            _assumed(20.0, "small packets are what URLLC is for; no rate is promised"),
            _assumed(20.0, "small packets are what URLLC is for; no rate is promised"),
            Figure(1.0, "published", f"{_ITU} 4.7.1: user plane latency, URLLC (radio only)"),
            _assumed(0.2, "configured grants: hardly any waiting"),
            Figure(1e-5, "published", f"{_ITU} 4.10: reliability 1 - 1e-5 (of 32 bytes within 1 ms)"),
            _RTO,
        ),
        Profile(
            "loopback",
            _assumed(10_000.0, "no limit worth the name"),
            _assumed(10_000.0, "no limit worth the name"),
            _assumed(0.0, "one machine"),
            _assumed(0.0, "one machine"),
            _assumed(0.0, "one machine"),
            _RTO,
        ),
    )
}
