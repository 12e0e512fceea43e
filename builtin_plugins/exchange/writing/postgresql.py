"""PostgreSQL: COPY straight into the table, or into a temporary one and from there by one statement."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Integer,
    MetaData,
    Select,
    Table,
    and_,
    exists,
    func,
    literal_column,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.dialects.postgresql import insert as pg_insert

from builtin_plugins.exchange.conversion.copy_text import copy_text
from builtin_plugins.exchange.mode import Mode
from builtin_plugins.exchange.writing.chunk import Chunk, Counts
from builtin_plugins.exchange.writing.target import Target
from nocohost import Kind

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from nocohost import BlockingBulk

STAGE = "nocohost_import"
ROW = "nocohost_row"
FRESH: ColumnElement[bool] = literal_column("(xmax = 0)")
"""Of a row that an upsert returns: true where it was inserted, for no transaction has locked it before."""
PIECE_ROWS = 2000
"""So many rows are joined before they are sent: the server works meanwhile."""


class PostgresqlWriter:
    """Loads chunks in the text form of COPY; used by one import, in one thread."""

    def __init__(self, target: Target, bulk: "BlockingBulk") -> None:
        self._target = target
        self._bulk = bulk
        self._generated = target.generated
        self._names = (*target.names, *self._generated)
        self._stage = Table(
            STAGE,
            MetaData(),
            Column(ROW, Integer),
            *(Column(name, target.column(name).type) for name in self._names),
        )
        self._pairs = [target.column(name) == self._stage.c[name] for name in target.key]

    def load(self, connection: "Connection", chunk: Chunk) -> Counts:
        """Write the rows of ``chunk``, and tell subscribers; raises what the database refuses."""
        target, name = self._target, self._target.resource.name
        chunk = chunk.plus([[copy_text(make()) for _ in chunk.numbers] for make in self._generated.values()])
        creates = target.mode is not Mode.UPDATE and self._bulk.watched(name, "create", connection=connection)
        changes = target.mode in (Mode.UPDATE, Mode.UPSERT) and self._bulk.watched(
            name, "update", connection=connection
        )
        if target.mode is Mode.INSERT and not creates and not target.has_expressions:
            columns = [target.column(one).name for one in self._names]
            self._copy(connection, target.table, columns, chunk.columns)
            return Counts(created=len(chunk))
        self._fill_stage(connection, chunk)
        before = self._records(connection, self._matching(lock=True)) if changes else {}
        if target.mode is Mode.UPDATE:
            return self._update(connection, len(chunk), before)
        if target.mode is Mode.UPSERT and target.is_unique and target.changed:
            return self._upsert(connection, len(chunk), before, told=creates or changes)
        if target.mode is Mode.UPSERT:
            self._update(connection, len(chunk), before)
        created = self._create(connection, told=creates)
        others = len(chunk) - created
        return Counts(created, others, 0) if target.mode is Mode.UPSERT else Counts(created, 0, others)

    def count_on(self, connection: "Connection") -> None:
        """Let a key that the table counts up go on above the greatest one that there is; never from a lower one."""
        target = self._target
        serial = target.table.autoincrement_column
        if target.mode is Mode.UPDATE or serial is None or serial.key not in target.names:
            return
        preparer = connection.dialect.identifier_preparer
        table = preparer.format_table(target.table)
        sequence = connection.scalar(
            text("SELECT pg_get_serial_sequence(:table, :column)"), {"table": table, "column": serial.name}
        )
        if sequence is not None:
            greatest = f"SELECT max({preparer.quote(serial.name)}) AS key FROM {table}"  # noqa: S608 - quoted names
            last = f"SELECT last_value FROM {sequence}"  # noqa: S608 - a name that PostgreSQL quoted
            rows = f"FROM ({greatest}) AS greatest WHERE key >= ({last})"
            connection.execute(text(f"SELECT setval(:sequence, key) {rows}"), {"sequence": sequence})

    def _fill_stage(self, connection: "Connection", chunk: Chunk) -> None:
        """Copy the rows into a table of this transaction whose columns have the types of the target's."""
        quote = connection.dialect.identifier_preparer.quote
        columns = ", ".join(f"{quote(self._target.column(name).name)} AS {quote(name)}" for name in self._names)
        table = connection.dialect.identifier_preparer.format_table(self._target.table)
        connection.execute(
            text(
                f"CREATE TEMPORARY TABLE IF NOT EXISTS {STAGE} ON COMMIT DROP AS "  # noqa: S608 - quoted names
                f"SELECT 0 AS {ROW}, {columns} FROM {table} WITH NO DATA"
            )
        )
        connection.execute(text(f"TRUNCATE {STAGE}"))
        numbers = list(map(str, chunk.numbers))
        self._copy(connection, self._stage, [ROW, *self._names], [numbers, *chunk.columns])

    def _copy(
        self, connection: "Connection", table: Table, columns: Sequence[str], values: Sequence[Sequence[str]]
    ) -> None:
        preparer = connection.dialect.identifier_preparer
        into = f"COPY {preparer.format_table(table)} ({', '.join(map(preparer.quote, columns))}) FROM STDIN"
        driver: Any = connection.connection.driver_connection
        with driver.cursor() as cursor, cursor.copy(into) as copy:
            for start in range(0, len(values[0]), PIECE_ROWS):
                piece = zip(*(one[start : start + PIECE_ROWS] for one in values), strict=True)
                copy.write(("\n".join(map("\t".join, piece)) + "\n").encode())

    def _rows(self, *, last: bool) -> Any:
        """Return the staged rows, of those with one key only the ``last`` one, or the first."""
        row = self._stage.c[ROW]
        key = [self._stage.c[name] for name in self._target.key]
        return select(self._stage).ext(distinct_on(*key)).order_by(*key, row.desc() if last else row).subquery()

    def _create(self, connection: "Connection", *, told: bool) -> int:
        """Insert the staged rows: all, or those whose key no record has."""
        target = self._target
        if target.mode is Mode.INSERT:
            rows: Any = self._stage
            query: Select[Any] = select(*(rows.c[name] for name in self._names)).order_by(rows.c[ROW])
        else:
            rows = self._rows(last=target.mode is Mode.UPSERT)
            taken = exists().where(and_(*(target.column(name) == rows.c[name] for name in target.key)))
            query = select(*(rows.c[name] for name in self._names)).where(~taken).order_by(rows.c[ROW])
        statement: Any = pg_insert(target.table).from_select(list(self._names), query)
        if target.mode is Mode.SKIP and target.is_unique:  # another import may have been here a moment ago
            statement = statement.on_conflict_do_nothing(index_elements=[target.column(name) for name in target.key])
        if not told:
            return int(connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount)
        made = connection.execute(statement.returning(*self._bulk.columns(target.resource.name))).all()
        records = self._bulk.records(target.resource.name, made)
        self._bulk.tell(target.resource.name, "create", [(None, one) for one in records], connection=connection)
        return len(made)

    def _update(self, connection: "Connection", rows_given: int, before: dict[Any, Any]) -> Counts:
        target = self._target
        rows = self._rows(last=True)
        matched = [target.column(name) == rows.c[name] for name in target.key]
        if not target.changed:
            found = connection.scalar(select(func.count()).select_from(self._stage).where(self._is_taken()))
            return Counts(updated=int(found or 0), skipped=rows_given - int(found or 0))
        missing = connection.scalar(select(func.count()).select_from(self._stage).where(~self._is_taken())) or 0
        statement: Any = (
            update(target.table).where(*matched).values({target.column(one): rows.c[one] for one in target.changed})
        )
        if before:
            name = target.resource.name
            made = connection.execute(statement.returning(*self._bulk.columns(name))).all()
            after = self._bulk.records(name, made)
            changed = [(before.get(self._identity(one)), one) for one in after]
            self._bulk.tell(name, "update", changed, connection=connection)
        else:
            connection.execute(statement)
        return Counts(updated=rows_given - missing, skipped=missing)

    def _upsert(self, connection: "Connection", rows_given: int, before: dict[Any, Any], *, told: bool) -> Counts:
        target, name = self._target, self._target.resource.name
        rows = self._rows(last=True)
        query = select(*(rows.c[one] for one in self._names)).order_by(rows.c[ROW])
        statement: Any = pg_insert(target.table).from_select(list(self._names), query)
        changes = {**target.renewed, **{one: statement.excluded[one] for one in target.changed}}
        key = [target.column(one) for one in target.key]
        differs: Any = None
        if not any(field.kind is Kind.JSON for field in target.fields):  # which the type json cannot tell
            pairs = [target.column(one).is_distinct_from(statement.excluded[one]) for one in target.changed]
            differs = or_(*pairs)
        statement = statement.on_conflict_do_update(index_elements=key, set_=changes, where=differs)
        if not told:
            written = statement.returning(FRESH.label("fresh")).cte("written")
            counting = select(func.count().filter(written.c.fresh), func.count()).select_from(written)
            created, _ = connection.execute(counting).one()
            return Counts(created=created, updated=rows_given - created)
        made = connection.execute(statement.returning(*self._bulk.columns(name), FRESH)).all()
        records = self._bulk.records(name, made)
        news = [(None, record) for record, row in zip(records, made, strict=True) if row[-1]]
        others = [
            (before.get(self._identity(record)), record)
            for record, row in zip(records, made, strict=True)
            if not row[-1]
        ]
        self._bulk.tell(name, "create", news, connection=connection)
        self._bulk.tell(name, "update", others, connection=connection)
        return Counts(created=len(news), updated=rows_given - len(news))

    def _is_taken(self) -> Any:
        return exists().where(and_(*self._pairs)).correlate(self._stage)

    def _matching(self, *, lock: bool) -> Any:
        """Return the records that staged rows are about."""
        name = self._target.resource.name
        query = select(*self._bulk.columns(name)).where(
            exists(select(literal_column("1")).select_from(self._stage).where(and_(*self._pairs)))
        )
        return query.with_for_update() if lock else query

    def _records(self, connection: "Connection", query: Any) -> dict[Any, Any]:
        records = self._bulk.records(self._target.resource.name, connection.execute(query).all())
        return {self._identity(record): record for record in records}

    def _identity(self, record: Any) -> tuple[Any, ...]:
        return tuple(record[field.name] for field in self._target.resource.key)
