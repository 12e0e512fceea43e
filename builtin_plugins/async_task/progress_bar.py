"""A task on a terminal: a bar that moves; elsewhere a plain line for each change."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TextIO

import click


class Display(Protocol):
    """Shows a task while it is watched."""

    def show(self, task: dict[str, Any]) -> None:
        """Show how the task stands now."""


class Lines:
    """Prints a line whenever what it says has changed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last = ""

    def show(self, task: dict[str, Any]) -> None:
        """Print the state, how far the task is, and what keeps it waiting."""
        line = f"{task['state']:<10} {progress_text(task['progress'])}".rstrip()
        if line != self._last:
            click.echo(line, file=self._stream)
        self._last = line
        for warning in task["warnings"]:
            if warning["code"] not in self._told:
                click.echo(f"warning    {warning['message']}", file=self._stream)
        self._told = frozenset(warning["code"] for warning in task["warnings"])

    _told: frozenset[str] = frozenset()


class Bar:
    """Moves a bar of ``rich``."""

    def __init__(self, bars: Any) -> None:
        self._bars = bars
        self._bar = bars.add_task("", total=None, text="")

    def show(self, task: dict[str, Any]) -> None:
        """Move the bar."""
        progress = task["progress"] or {"done": 0, "total": None}
        waiting = "; ".join(warning["message"] for warning in task["warnings"])
        self._bars.update(
            self._bar,
            description=task["state"],
            completed=progress["done"],
            total=progress["total"],
            text=waiting or progress_text(task["progress"]),
        )


@contextmanager
def display(stream: TextIO) -> Iterator[Display]:
    """Show on ``stream``: with a bar if that is a terminal."""
    if not stream.isatty():
        yield Lines(stream)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description:<10}"), BarColumn(), TextColumn("{task.fields[text]}"))
    with Progress(*columns, console=Console(file=stream)) as bars:
        yield Bar(bars)


def progress_text(progress: dict[str, Any] | None) -> str:
    """Return how far a task is, for people."""
    if progress is None:
        return ""
    done, total = progress["done"], progress["total"]
    parts = [f"{done:,.0f}" if total is None else f"{done:,.0f} of {total:,.0f}", progress["unit"]]
    if progress["rate"]:
        parts.append(f"({progress['rate']:,.0f}/s)")
    if progress["seconds_left"]:
        parts.append(f"{duration(progress['seconds_left'])} left")
    return " ".join(part for part in parts if part)


def duration(seconds: float) -> str:
    """Return a duration as a person says it."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
