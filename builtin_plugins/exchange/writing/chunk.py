"""Some rows as a writer takes them: by columns, with the row numbers and the cells they came from."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import compress
from typing import Any

from builtin_plugins.exchange.conversion.column import Column
from builtin_plugins.exchange.source.batch import Batch, Misfit


@dataclass(slots=True)
class Counts:
    """What became of rows."""

    created: int = 0
    updated: int = 0
    skipped: int = 0
    """With records that are there already, or, when only those are updated, without one."""
    refused: int = 0
    fitting: int = 0
    """Rows of a dry run that would be written."""

    def add(self, other: "Counts") -> None:
        """Count in what became of other rows."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows that fit their fields; ``columns`` have a value of each row, as the database's writer takes it."""

    numbers: Sequence[int]
    columns: Sequence[Sequence[Any]]
    cells: Sequence[Sequence[Any]]
    """The same rows as they stand in the file, by columns."""

    def __len__(self) -> int:
        return len(self.numbers)

    def part(self, start: int, end: int | None = None) -> "Chunk":
        """Return some of the rows."""
        cut = slice(start, end)
        return Chunk(self.numbers[cut], [one[cut] for one in self.columns], [one[cut] for one in self.cells])

    def plus(self, columns: Sequence[Sequence[Any]]) -> "Chunk":
        """Return it with more columns, which no cell stands behind."""
        return Chunk(self.numbers, [*self.columns, *columns], self.cells)


def chunk_of(batch: Batch, columns: Sequence[Column], places: Sequence[int]) -> tuple[Chunk, list[Misfit]]:
    """Return the rows of a batch that fit, converted, and what does not fit in the others, by row."""
    if not batch.rows:
        return Chunk((), [()] * len(columns), [()] * len(columns)), batch.misfits
    by_place = list(zip(*batch.rows, strict=True))
    cells = [by_place[place] for place in places]
    converted = []
    misfits = list(batch.misfits)
    wrong: set[int] = set()
    for column, raw in zip(columns, cells, strict=True):
        found, faults = column.convert(raw)
        converted.append(found)
        for place, reason in faults.items():
            misfits.append(Misfit(batch.numbers[place], column.field.name, column.shown(raw[place]), reason))
        wrong.update(faults)
    chunk = Chunk(batch.numbers, converted, cells)
    if wrong:
        fits = [place not in wrong for place in range(len(batch.numbers))]
        chunk = Chunk(
            list(compress(chunk.numbers, fits)),
            [list(compress(one, fits)) for one in converted],
            [list(compress(one, fits)) for one in cells],
        )
    misfits.sort(key=lambda misfit: misfit.row)
    return chunk, misfits
