from __future__ import annotations

from pathlib import Path

import pytest

from training.eval_dev_log import LIMIT, EvalDevSpent, append, count


def test_each_look_is_a_line_and_they_run_out(tmp_path: Path) -> None:
    log = tmp_path / "LOG.md"
    assert count(log) == 0
    assert append("net@1", "first | look\nat it", log) == LIMIT - 1
    assert "| net@1 | first / look at it |" in log.read_text()
    for _ in range(LIMIT - 1):
        append("net@1", "again", log)
    before = log.read_text()
    with pytest.raises(EvalDevSpent, match=f"{LIMIT} times"):
        append("net@1", "once more", log)
    assert log.read_text() == before


def test_a_look_without_a_reason_is_refused_and_not_counted(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--purpose"):
        append("net@1", "  ", tmp_path / "LOG.md")
    assert count(tmp_path / "LOG.md") == 0
