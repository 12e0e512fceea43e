"""Lists of records in a total order, page by page: each page begins where the one before ended, not by counting."""

import base64
import binascii
import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, literal, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.api.errors import ResourceQueryError
from nocohost.api.field import Kind
from nocohost.api.filter import EVERYTHING, Filter
from nocohost.api.sort import SortKey
from nocohost.store.resources.conditions import where
from nocohost.store.resources.shape import Shape

DIGEST_BYTES = 9
MAX_CURSOR = 16_384
MAX_DIGITS = 131_000
"""So many digits PostgreSQL keeps of a decimal."""
Place = tuple[Any, ...]
"""Where a page ends: what the last row has under each key of the order, as it is stored."""


class Listing:
    """One list: which records, in which order, which of their fields."""

    def __init__(self, shape: Shape, found: Filter, sort: Sequence[SortKey], names: Sequence[str]) -> None:
        self._shape = shape
        self._filter = found
        self._order = _total(sort, shape.key)
        self.names = names
        beside = [key.field for key in self._order if key.field not in names]
        selected = [*names, *beside]
        self._places = [selected.index(key.field) for key in self._order]
        statement: Select[Any] = select(*shape.select_list(selected))
        if found != EVERYTHING:
            statement = statement.where(where(shape, found))
        self._statement = statement.order_by(*(self._ordered(key) for key in self._order))

    @property
    def whole(self) -> Select[Any]:
        """Return the statement of all records, which selects the named fields alone."""
        return self._statement.with_only_columns(*self._shape.select_list(self.names)).select_from(self._shape.table)

    async def rows(
        self, connection: AsyncConnection, limit: int, after: Place | None
    ) -> tuple[Sequence[Row[Any]], Place | None]:
        """Return at most ``limit`` rows behind ``after``, and where they end if there are more."""
        result = await connection.execute(self.statement(limit, after))
        found = result.all()
        if len(found) <= limit:
            return found, None
        last = found[limit - 1]
        return found[:limit], tuple(last[place] for place in self._places)

    def statement(self, limit: int, after: Place | None) -> Select[Any]:
        """Return the statement of one page, which selects one row more than ``limit``."""
        statement = self._statement if after is None else self._statement.where(self._behind(after))
        return statement.limit(limit + 1)

    def records(self, rows: Sequence[Row[Any]]) -> list[dict[str, Any]]:
        """Return rows as records."""
        return self._shape.records(rows, self.names)

    def cursor(self, place: Place) -> str:
        """Return ``place`` as text that is good for this filter and order only."""
        values = [self._shown(key.field, value) for key, value in zip(self._order, place, strict=True)]
        text = json.dumps([self._digest(), *values], separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()

    def place(self, cursor: str) -> Place:
        """Return the place that ``cursor`` says; raises ``ResourceQueryError`` for one of another list."""
        try:
            if not isinstance(cursor, str) or len(cursor) > MAX_CURSOR:
                raise ValueError
            text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            digest, *values = json.loads(text)
            is_ours = digest == self._digest()
            place = tuple(self._stored(key.field, value) for key, value in zip(self._order, values, strict=True))
        except (ValueError, TypeError, ArithmeticError, RecursionError, binascii.Error):
            is_ours, place = False, ()
        if not is_ours:
            raise ResourceQueryError(
                "after is no cursor of this list",
                hint="take it from next of the page before, with the same filter and sort",
                faults=["after: is no cursor of this filter and sort"],
            )
        return place

    def _digest(self) -> str:
        said = repr((self._shape.resource.name, self._filter, self._order))
        return base64.urlsafe_b64encode(sha256(said.encode()).digest()[:DIGEST_BYTES]).decode()

    def _ordered(self, key: SortKey) -> ColumnElement[Any]:
        column: Any = self._shape.columns[key.field]
        ordered: ColumnElement[Any] = column.desc() if key.descending else column.asc()
        if self._shape.is_sqlite and self._shape.fields[key.field].nullable:
            return ordered.nulls_first() if key.descending else ordered.nulls_last()
        return ordered

    def _behind(self, place: Place) -> ColumnElement[bool]:
        """Return the condition that a row sorts after ``place``."""
        pairs = list(zip(self._order, place, strict=True))
        is_plain = len({key.descending for key in self._order}) == 1 and None not in place
        nullable = any(self._shape.fields[key.field].nullable for key in self._order)
        if is_plain and (self._order[0].descending or not nullable):
            # One comparison of rows, which an index answers; of nulls it is unknown, and those came first.
            ours = tuple_(*(self._shape.stored(key.field) for key in self._order))
            theirs = tuple_(*(self._literal(key.field, value) for key, value in pairs))
            return ours < theirs if self._order[0].descending else ours > theirs
        steps = []
        for count, (key, value) in enumerate(pairs):
            same = [self._same(earlier.field, known) for earlier, known in pairs[:count]]
            if (beyond := self._beyond(key, value)) is not None:
                steps.append(and_(*same, beyond))
        first, value = pairs[0]
        behind = or_(*steps)
        if value is None or self._shape.fields[first.field].nullable:
            return behind
        column, edge = self._shape.stored(first.field), self._literal(first.field, value)
        return and_(column <= edge if first.descending else column >= edge, behind)  # for the index

    def _same(self, name: str, value: Any) -> ColumnElement[bool]:
        column = self._shape.stored(name)
        return column.is_(None) if value is None else column == self._literal(name, value)

    def _beyond(self, key: SortKey, value: Any) -> ColumnElement[bool] | None:
        """Return the condition that the field alone sorts after ``value``; None when nothing does."""
        column = self._shape.stored(key.field)
        if value is None:
            return column.is_not(None) if key.descending else None
        edge = self._literal(key.field, value)
        if key.descending:
            return column < edge
        return or_(column > edge, column.is_(None)) if self._shape.fields[key.field].nullable else column > edge

    def _literal(self, name: str, value: Any) -> ColumnElement[Any]:
        return literal(value) if self._shape.is_raw(name) else literal(value, self._shape.columns[name].type)

    def _shown(self, name: str, value: Any) -> Any:
        if value is None or self._shape.is_raw(name):
            return value
        field = self._shape.fields[name]
        if isinstance(value, datetime) and value.tzinfo is None:
            return value.isoformat()
        return str(value) if field.kind is Kind.DECIMAL else field.show(value)

    def _stored(self, name: str, value: Any) -> Any:
        field = self._shape.fields[name]
        if value is None:
            return None
        if self._shape.is_raw(name):
            if not isinstance(value, str | int | float) or abs(value if isinstance(value, int) else 0) >= 1 << 63:
                raise ValueError
            return value
        if field.kind is Kind.DECIMAL:
            number = Decimal(value)
            if number.is_finite() and number and abs(number.adjusted()) > MAX_DIGITS:
                raise ValueError
            return number
        if field.kind is Kind.FLOAT:
            return float(value)
        if field.kind is Kind.INSTANT:
            return datetime.fromisoformat(value)
        return field.read(value)


def _total(sort: Sequence[SortKey], primary: Sequence[str]) -> tuple[SortKey, ...]:
    """Return the order made total by the primary key, in the direction of what stands before it."""
    named = {key.field for key in sort}
    descending = bool(sort) and sort[-1].descending
    return (*sort, *(SortKey(name, descending) for name in primary if name not in named))
