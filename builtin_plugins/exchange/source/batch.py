"""Rows as readers give them: some at a time, each with the number that its reader's program shows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple, Protocol, TypeVar

T = TypeVar("T")
PIECE_ROWS = 8
"""After so many rows a reader looks how much text they were."""
BATCH_BYTES = 16 * 1024 * 1024
"""A batch ends with so much text, however few its rows are: several of them are in memory at a time."""
MAX_COLUMNS = 1000
MAX_ROW_LETTERS = 16 * 1024 * 1024
"""A longer row is refused before it is held in memory."""
MAX_CELL_LETTERS = 1024 * 1024


class Misfit(NamedTuple):
    """One value of one row that is not taken, and why; ``field`` and ``value`` are empty for a row as a whole."""

    row: int
    field: str
    value: str
    reason: str


@dataclass(slots=True)
class Batch:
    """Some rows, each as long as the header, and what was wrong with those that are left out."""

    numbers: Sequence[int]
    rows: Sequence[Sequence[Any]]
    misfits: list[Misfit] = field(default_factory=list)
    last: int = 0
    """The number of the last row that was looked at, left out or not."""


class Source(Protocol):
    """An open file of rows under a header."""

    @property
    def titles(self) -> Sequence[str]:
        """Return the header."""

    @property
    def header(self) -> int:
        """Return the number of the row that has the titles; 0 without one."""

    @property
    def total(self) -> int | None:
        """Return how many rows there are after the header, about; None when nobody knows."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Return what was found out of the file, as JSON: format, encoding, separator, sheet."""

    def batches(self, size: int, after: int) -> Iterator[Batch]:
        """Yield the rows whose number is above ``after``, at most ``size`` and ``BATCH_BYTES`` of text at a time.

        Raises ``FileRefusedError``.
        """


def take(items: Iterator[T], most: int, place: Callable[[], int], taken: list[T]) -> list[T]:
    """Append the next items to ``taken``, up to ``most``, or until ``place`` is ``BATCH_BYTES`` on; return it."""
    begin, count = place(), -1
    while count < len(taken) < most and place() - begin < BATCH_BYTES:
        count = len(taken)
        taken.extend(islice(items, min(PIECE_ROWS, most - count)))  # which keeps what came before an error
    return taken


def aligned(numbers: Sequence[int], rows: Sequence[Sequence[Any]], width: int, last: int) -> Batch:
    """Return the rows that are ``width`` long as a batch, and the others as its misfits. Blank rows are no rows."""
    if set(map(len, rows)) <= {width}:
        return Batch(numbers, rows, last=last)
    kept_numbers, kept, misfits = [], [], []
    for number, row in zip(numbers, rows, strict=True):
        if len(row) == width:
            kept_numbers.append(number)
            kept.append(row)
        elif row:
            misfits.append(Misfit(number, "", "", f"has {_cells(len(row))}, the header has {width}"))
    return Batch(kept_numbers, kept, misfits, last)


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"
