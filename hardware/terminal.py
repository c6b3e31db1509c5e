"""What a person sees of a running rig: progress on a terminal, or one JSON event a line."""

from __future__ import annotations

import json
import sys
from types import TracebackType
from typing import IO, Any, Protocol, Self


class View(Protocol):
    """Takes the loop's events."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...  # fmt: skip

    def tell(self, event: dict[str, Any]) -> None:
        """Show one event."""


class Headless:
    """One JSON object a line."""

    def __init__(self, out: IO[str] | None = None) -> None:
        self._out = out or sys.stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        pass

    def tell(self, event: dict[str, Any]) -> None:
        """See `View`."""
        print(json.dumps(event, ensure_ascii=False), file=self._out, flush=True)


class Progress:
    """A bar for the plan at work, a line for each thing that happens; on standard error."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as Bar

        self._console = Console(stderr=True, highlight=False)
        self._bar = Bar(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=self._console, transient=True
        )
        self._task = self._bar.add_task("starting", total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    def tell(self, event: dict[str, Any]) -> None:
        """See `View`."""
        if event["event"] == "target":
            what = f"{event['operation']} {event['agent']}"
            self._bar.update(self._task, description=what, completed=event["done"], total=event["of"])
        else:
            self._console.print(words(event), markup=False)


def words(event: dict[str, Any]) -> str:
    """An event in a sentence."""
    kind = event["event"]
    if kind == "map":
        return f"seen: {event['cells']} stained cells, {event['mm2']:.0f} mm2"
    if kind == "plan":
        return f"plan {event['id']}: {event['cells']} cells, {event['shots']} shots; {event['handed_over']} handed over"
    if kind == "permit":
        return f"permitted: {event['reason']}"
    if kind == "state":
        return f"{event['state']}{': ' + event['why'] if event['why'] else ''}"
    if kind == "done":
        return report(event)
    return json.dumps(event, ensure_ascii=False)


def report(event: dict[str, Any]) -> str:
    """The end of a garment, in lines."""
    before, after = event["stained_mm2_before"], event["stained_mm2_after"]
    seen = "not looked at again" if after is None else f"{after:.0f} mm2 stained after"
    agents = ", ".join(f"{name} {volume / 1000:.2f} mL" for name, volume in event["agent_ul"].items()) or "nothing"
    lines = [
        f"garment {event['garment']}: {event['state']}{' (' + event['why'] + ')' if event['why'] else ''}",
        f"{before or 0:.0f} mm2 stained before, {seen}; {len(event['plans'])} plans, {event['seconds']:.0f} s",
        f"given: {agents}; of it water {event['water_ul'] / 1000:.2f} mL",
        *(f"to a person: {count} cells: {why}" for why, count in event["handed_over"].items()),
    ]
    return "\n".join(lines)
