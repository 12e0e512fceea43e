"""The three independent records of a run, as lines of JSON: what clients saw, what handlers did, what nemesis did.

The fourth piece of evidence, the database as it is at the end, comes from ``dump``.
"""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Line = dict[str, Any]
FOLDERS = ("client", "ledger", "pulse", "nemesis", "logs")


@dataclass(frozen=True)
class Dump:
    """The database after healing and draining; rows as dictionaries, ids as text, instants in seconds since 1970."""

    jobs: Sequence[Line]
    history: Sequence[Line]
    nodes: Sequence[Line] = ()
    orders: Sequence[str] = ()
    effects: Sequence[Line] = ()
    ticks: Sequence[Line] = ()
    at: float = 0.0
    """When it was taken."""


@dataclass(frozen=True)
class Timing:
    """What the run's nodes were set to, and what they promise."""

    lease_seconds: float = 3.0
    recovery_seconds: float = 6.0
    drain_seconds: float = 1.0
    places: int = 2
    """How many children a node runs at a time for the sake of their jobs."""
    slots: int = 10
    """How many jobs of a key a node runs at a time."""


@dataclass(frozen=True)
class Evidence:
    """Everything the checker looks at."""

    client: Sequence[Line]
    ledger: Sequence[Line]
    nemesis: Sequence[Line]
    dump: Dump
    pulse: Sequence[Line] = ()
    logs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    timing: Timing = Timing()


class Record:
    """One file of lines; each is written at once, with both clocks."""

    def __init__(self, folder: Path, record: str, who: str) -> None:
        self._file = (folder / record / f"{who}.jsonl").open("ab", buffering=0)
        self._who = who

    def note(self, what: str, **fields: Any) -> None:
        """Append one line."""
        told = {"t": time.monotonic(), "w": time.time(), "what": what, "who": self._who, **fields}
        self._file.write((json.dumps(told) + "\n").encode())

    def close(self) -> None:
        """Write no more."""
        self._file.close()


def make_folders(folder: Path) -> None:
    """Make the folders that a run writes to."""
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)


def read_lines(folder: Path, record: str, who: str = "*") -> list[Line]:
    """Return all lines of a record, in the order of time; a line cut short by a kill is left out."""
    lines = []
    for file in sorted((folder / record).glob(f"{who}.jsonl")):
        for text in file.read_text("utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                continue
    return in_time(lines)


def read_logs(folder: Path) -> dict[str, list[str]]:
    """Return what each node printed."""
    return {file.stem: file.read_text("utf-8", "replace").splitlines() for file in sorted((folder / "logs").iterdir())}


def in_time(lines: Iterable[Line]) -> list[Line]:
    """Return lines in the order of time."""
    return sorted(lines, key=lambda line: line["t"])
