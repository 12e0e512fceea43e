"""SQLite, and whatever has no COPY: many inserts as one statement, everything else row by row."""

from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, literal, select, update

from builtin_plugins.exchange.mode import Mode
from builtin_plugins.exchange.writing.chunk import Chunk, Counts
from builtin_plugins.exchange.writing.target import Target

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from nocohost import BlockingBulk


class RowWriter:
    """Loads chunks of Python values; used by one import, in one thread."""

    def __init__(self, target: Target, bulk: "BlockingBulk") -> None:
        self._target = target
        self._bulk = bulk
        name = target.resource.name
        columns = self._columns = [*bulk.columns(name)]
        values = {target.column(one).key: bindparam(f"v_{one}", type_=self._type(one)) for one in target.names}
        has_key = [target.column(one) == bindparam(f"v_{one}", type_=self._type(one)) for one in target.key]
        self._insert = insert(target.table).values(values)
        self._find = select(*columns).where(*has_key)
        self._is_there = select(literal(1)).select_from(target.table).where(*has_key).limit(1)
        self._update: Any = None
        if target.changed:
            changes = {target.column(one).key: values[target.column(one).key] for one in target.changed}
            self._update = update(target.table).where(*has_key).values(changes)

    def load(self, connection: "Connection", chunk: Chunk) -> Counts:
        """Write the rows of ``chunk``, and tell subscribers; raises what the database refuses."""
        target, name = self._target, self._target.resource.name
        keys = [f"v_{one}" for one in target.names]
        rows = [dict(zip(keys, values, strict=True)) for values in zip(*chunk.columns, strict=True)]
        creates = target.mode is not Mode.UPDATE and self._bulk.watched(name, "create", connection=connection)
        if target.mode is Mode.INSERT:
            self._create(connection, rows, told=creates)
            return Counts(created=len(rows))
        changes = target.mode is not Mode.SKIP and self._bulk.watched(name, "update", connection=connection)
        counts = Counts()
        for row in rows:
            self._write(connection, row, counts, creates=creates, changes=changes)
        return counts

    def count_on(self, connection: "Connection") -> None:
        """Do nothing: SQLite counts on from the greatest key by itself."""

    def _write(
        self, connection: "Connection", row: dict[str, Any], counts: Counts, *, creates: bool, changes: bool
    ) -> None:
        mode = self._target.mode
        if not self._met(connection, row, told=changes):
            if mode is Mode.UPDATE:
                counts.skipped += 1
            else:
                self._create(connection, [row], told=creates)
                counts.created += 1
        elif mode is Mode.SKIP:
            counts.skipped += 1
        else:
            counts.updated += 1

    def _met(self, connection: "Connection", row: dict[str, Any], *, told: bool) -> bool:
        """Tell whether a record has the key of ``row``, and change it as the mode says."""
        if self._target.mode is not Mode.SKIP and self._update is not None:
            if not told:  # one statement asks and changes
                return connection.execute(self._update, row).rowcount > 0
            if before := connection.execute(self._find, row).all():
                self._change(connection, row, before)
            return bool(before)
        return connection.execute(self._is_there, row).first() is not None

    def _create(self, connection: "Connection", rows: list[dict[str, Any]], *, told: bool) -> None:
        if not told:
            connection.execute(self._insert, rows)
            return
        returning = self._insert.returning(*self._columns, sort_by_parameter_order=True)
        made = connection.execute(returning, rows).all()
        records = self._bulk.records(self._target.resource.name, made)
        self._bulk.tell(
            self._target.resource.name, "create", [(None, record) for record in records], connection=connection
        )

    def _change(self, connection: "Connection", row: dict[str, Any], found: Sequence[Any]) -> None:
        """Change the records that are ``found``, and tell subscribers of what they were and are."""
        name = self._target.resource.name
        before = self._bulk.records(name, found)
        after = self._bulk.records(name, connection.execute(self._update.returning(*self._columns), row).all())
        identity = [field.name for field in self._target.resource.key]
        known = {tuple(record[one] for one in identity): record for record in before}
        changed = [(known.get(tuple(record[one] for one in identity)), record) for record in after]
        self._bulk.tell(name, "update", changed, connection=connection)

    def _type(self, name: str) -> Any:
        """Return the type of a parameter for which None is SQL's null, for JSON too."""
        kind: Any = self._target.column(name).type
        if hasattr(kind, "none_as_null"):
            kind = copy(kind)
            kind.none_as_null = True
        return kind
