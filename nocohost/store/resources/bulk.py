"""``app.resources.bulk``: many records by somebody else's statements, read and told of as through the door."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select

from nocohost.api.bulk import Changed
from nocohost.api.changes import Change, Record
from nocohost.api.errors import ResourceError
from nocohost.api.filter import parse_filter
from nocohost.api.sort import parse_names, parse_sort
from nocohost.store.resources.conflicts import refusal
from nocohost.store.resources.events import EventQueue, tell
from nocohost.store.resources.listing import Listing
from nocohost.store.resources.shape import Shape
from nocohost.store.subscriptions import subscribers

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


class SqlBulk:
    """Implements ``nocohost.api.bulk.Bulk``."""

    def __init__(self, shape_of: Callable[[str], Shape], queue: EventQueue) -> None:
        self._shape_of = shape_of
        self._queue = queue

    def columns(self, name: str, fields: Sequence[str] | None = None) -> Sequence[ColumnElement[Any]]:
        """Return what a statement must select, or return, for ``records`` to read its rows."""
        shape = self._shape_of(name)
        return shape.select_list(shape.fields if fields is None else fields)

    def records(self, name: str, rows: Iterable[Any], fields: Sequence[str] | None = None) -> list[Record]:
        """Return rows that begin with ``columns`` of the same fields as records."""
        shape = self._shape_of(name)
        return [*shape.records(rows, tuple(shape.fields if fields is None else fields))]

    def select(
        self,
        name: str,
        *,
        filter: Any = None,  # noqa: A002
        sort: str | Sequence[str] | None = None,
        fields: str | Sequence[str] | None = None,
    ) -> "Select[Any]":
        """Return the statement that selects ``columns`` of ``fields``, of the records that fit, in a total order."""
        shape = self._shape_of(name)
        names = parse_names(fields, shape.fields)
        return Listing(shape, parse_filter(filter, shape.fields), parse_sort(sort, shape.fields), names).whole

    def refusal(self, name: str, error: BaseException) -> ResourceError:
        """Return what the database says by ``error`` in the names of fields."""
        return refusal(self._shape_of(name), error)

    async def watched(self, name: str, change: Change, *, connection: "AsyncConnection") -> bool:
        """Tell whether anybody subscribes to this change."""
        self._shape_of(name)
        return bool(await subscribers(connection, name, change))

    async def tell(
        self, name: str, change: Change, changed: Sequence[Changed], *, connection: "AsyncConnection"
    ) -> None:
        """Enqueue, in the transaction of ``connection``, what subscribers are told."""
        shape = self._shape_of(name)
        told = await subscribers(connection, name, change)
        await tell(self._queue, connection, shape, change, told, changed)
