"""The count of looks at eval_dev: twenty in the whole project, so that nobody fits to it by trying often."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from training.provenance import REPO

LIMIT: Final = 20
LOG: Final = REPO / "training" / "EVAL_DEV_LOG.md"

_HEAD = """# Every scoring of eval_dev

The real development photos are for measuring, not for tuning. `training.evaluate` writes a line here before it scores
them, and refuses above {limit} lines.

| date | model | purpose |
|---|---|---|
"""


class EvalDevSpent(Exception):
    """The photos have been scored as often as the project allows."""


def count(log: Path = LOG) -> int:
    """How many scorings the log holds."""
    if not log.is_file():
        return 0
    lines = log.read_text(encoding="utf-8").splitlines()
    return sum(line.startswith("| 2") for line in lines)


def append(model: str, purpose: str, log: Path = LOG) -> int:
    """Write down a scoring that is about to be made; returns how many are left after it.

    Args:
        model: name and hash of what is scored.
        purpose: why, in a few words.
        log: the log file; made when it is not there.

    Raises:
        ValueError: no purpose.
        EvalDevSpent: the limit is reached; nothing is written.
    """
    purpose = " ".join(purpose.replace("|", "/").split())
    if not purpose:
        raise ValueError(
            "scoring eval_dev needs --purpose, a few words on why: it is logged, and the looks are counted"
        )
    done = count(log)
    if done >= LIMIT:
        raise EvalDevSpent(
            f"eval_dev has been scored {done} times, the limit is {LIMIT}; measure on testset or clothing"
        )
    if not log.is_file():
        log.write_text(_HEAD.format(limit=LIMIT), encoding="utf-8")
    with log.open("a", encoding="utf-8") as file:
        file.write(f"| {datetime.now(UTC):%Y-%m-%d %H:%M} | {model} | {purpose} |\n")
    return LIMIT - done - 1
