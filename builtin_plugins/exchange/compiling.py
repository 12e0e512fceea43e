"""From the params of an import and the titles of its file to what converts and writes the rows."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from builtin_plugins.exchange.conversion.column import Column
from builtin_plugins.exchange.conversion.headers import match_titles
from builtin_plugins.exchange.errors import ImportRefusedError
from builtin_plugins.exchange.import_form import ImportParams, referred
from builtin_plugins.exchange.lookup import Lookup
from builtin_plugins.exchange.mode import Mode
from builtin_plugins.exchange.source.batch import Batch, Misfit, Source
from builtin_plugins.exchange.writing.chunk import Chunk, Counts, chunk_of
from builtin_plugins.exchange.writing.postgresql import PostgresqlWriter
from builtin_plugins.exchange.writing.refusal import write_what_fits
from builtin_plugins.exchange.writing.rowwise import RowWriter
from builtin_plugins.exchange.writing.target import Target

if TYPE_CHECKING:
    from sqlalchemy import Connection, Dialect

    from nocohost import BlockingApp, Resource

CHUNK_ROWS = 10_000
SQLITE_ROWS = 1000
"""A write transaction of SQLite holds up every other writer."""


class Writer(Protocol):
    """Loads chunks of one import into its table."""

    def load(self, connection: "Connection", chunk: Chunk) -> Counts:
        """Write the rows, and tell subscribers; raises what the database refuses."""

    def count_on(self, connection: "Connection") -> None:
        """Let keys that the table makes go on above those that were loaded: an import may end after any chunk."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What turns batches of a file into records of a resource."""

    app: "BlockingApp"
    target: Target
    places: tuple[int, ...]
    columns: tuple[Column, ...]
    writer: Writer
    ignored: tuple[str, ...]
    """Titles of columns that are left out."""
    chunk_rows: int

    def convert(self, batch: Batch) -> tuple[Chunk, list[Misfit]]:
        """Return the rows that fit, and what does not fit in the others."""
        return chunk_of(batch, self.columns, self.places)

    def write(self, connection: "Connection", chunk: Chunk, most: int) -> tuple[Counts, list[Misfit]]:
        """Write what fits; it ends early when more than ``most`` rows are refused."""
        return write_what_fits(connection, chunk, self.writer.load, self.target, self.app.resources.bulk, most)


def compile_import(params: ImportParams, source: Source, resource: "Resource", app: "BlockingApp") -> Machine:
    """Return the machine of an import; raises ``ImportRefusedError`` when file and resource do not fit together."""
    with app.database.connect() as connection:
        dialect = connection.dialect
    key: tuple[str, ...] = ()
    if params.mode is not Mode.INSERT:
        key = tuple(params.key) or tuple(field.name for field in resource.key)
    creates = params.mode is not Mode.UPDATE
    needed = [field.name for field in resource.fields.values() if field.is_required and creates]
    if params.mode is not Mode.INSERT:
        needed += [name for name in key if name not in needed]
    plan = match_titles(source.titles, resource, params.mapping, needed=needed, ignore_unknown=params.ignore_unknown)
    fields = plan.fields
    if params.mode is not Mode.INSERT:  # whatever the table says: nothing is found by null
        fields = tuple(replace(field, nullable=False) if field.name in key else field for field in fields)
    target = Target(resource, params.mode, fields, key)
    if params.mode is Mode.UPDATE and not target.changed:
        raise ImportRefusedError("the file has the key and nothing to change", code="exchange.columns")
    unknown = [name for name in params.lookups if name not in target.names]
    if unknown:
        raise ImportRefusedError(
            f"lookups: no column of the file goes into {', '.join(unknown)}", code="exchange.columns"
        )
    columns = tuple(_column(name, target, source, params, dialect, app) for name in target.names)
    copies = dialect.name == "postgresql"
    bulk = app.resources.bulk
    writer: Writer = PostgresqlWriter(target, bulk) if copies else RowWriter(target, bulk)
    return Machine(app, target, plan.places, columns, writer, plan.ignored, CHUNK_ROWS if copies else SQLITE_ROWS)


def _column(
    name: str, target: Target, source: Source, params: ImportParams, dialect: "Dialect", app: "BlockingApp"
) -> Column:
    field = next(field for field in target.fields if field.name == name)
    kind, locale = str(source.facts["format"]), params.meaning
    wanted = params.lookups.get(name)
    if wanted is None:
        return Column(field, target.column(name), dialect, locale, kind=kind)
    try:
        other, by = referred(target.resource, name, wanted, app.resources.declared)
    except ValueError as error:
        raise ImportRefusedError(f"lookups: {error}") from error
    reads = replace(other.fields[wanted], nullable=field.nullable)
    column = Column(field, target.column(name), dialect, locale, kind=kind, reads=reads)
    column.resolve = Lookup(app, other, wanted, by)
    return column
