"""``app.resources.bulk``: many records by somebody else's statements, read and told of as through the door."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement

from nocohost.api.bulk import Changed
from nocohost.api.changes import Change, Record
from nocohost.api.errors import ResourceError
from nocohost.store.resources.conflicts import refusal
from nocohost.store.resources.events import EventQueue, tell
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
