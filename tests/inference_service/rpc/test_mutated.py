"""Messages with bytes changed, cut or repeated: refused in clear words or answered, and the service lives on."""

from __future__ import annotations

from pathlib import Path

from benchmarks.service.mutants import feed_messages
from tests.inference_service.rpc.calls import Called, with_calls


def test_changed_messages_are_refused_clearly(tmp_path: Path) -> None:
    """`python -m benchmarks.service.mutants` does 10,000."""

    async def steps(called: Called) -> None:
        found = await feed_messages(called, 40, seed=5)
        assert found.wrong == []
        assert found.refused > 40 / 5

    with_calls(tmp_path, steps)
