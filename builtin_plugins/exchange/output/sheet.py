"""What every format writes from: columns, and their rows as Python values, batch by batch."""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from builtin_plugins.exchange.export_form import ExportParams
from builtin_plugins.exchange.selection import ExportColumn
from nocohost import Field, Kind

if TYPE_CHECKING:
    from sqlalchemy import Connection, Select

    from nocohost import BlockingApp

BATCH_ROWS = 2000
KEPT_OTHERWISE = frozenset({Kind.DECIMAL, Kind.INSTANT})
"""What a database may keep in a form of its own, which only its records undo."""
Batch = list[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Sheet:
    """One export: its columns, and the statement that selects them."""

    params: ExportParams
    columns: tuple[ExportColumn, ...]
    statement: "Select[Any]"
    name: str
    """What people call it."""

    @property
    def fields(self) -> tuple[Field, ...]:
        """Return the field of each column."""
        return tuple(column.field for column in self.columns)

    def batches(self, app: "BlockingApp", connection: "Connection") -> Generator[Batch, None, None]:
        """Yield the rows as Python has them, in memory that does not grow; to be closed, as is the cursor behind it."""
        groups = [(column.resource.name, [column.field.name]) for column in self.columns]
        kinds = [field.kind for field in self.fields]
        bulk = app.resources.bulk
        streamed = connection.execution_options(stream_results=True, max_row_buffer=BATCH_ROWS)
        with streamed.execute(self.statement) as result:
            for part in result.partitions(BATCH_ROWS):
                columns: list[Sequence[Any]] = []
                for (name, field), kind, values in zip(groups, kinds, zip(*part, strict=True), strict=True):
                    if kind not in KEPT_OTHERWISE:
                        columns.append(values)
                        continue
                    records = bulk.records(name, [(value,) for value in values], field)
                    columns.append([record[field[0]] for record in records])
                yield list(zip(*columns, strict=True))


class Output(Protocol):
    """Writes a sheet to a file."""

    def __call__(self, sheet: Sheet, file: BinaryIO, batches: Iterable[Batch]) -> dict[str, Any]:
        """Write every row of ``batches``; return what is worth telling about the file."""
