"""Resources by the thousand: what code needs that reads or writes their tables by statements of its own."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from nocohost.api.changes import Change, Record
from nocohost.api.errors import ResourceError

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Select
    from sqlalchemy.ext.asyncio import AsyncConnection

Changed = tuple[Record | None, Record | None]
"""A record before and after its change; None before it was created, and after it was deleted."""


class BulkRows(Protocol):
    """Rows of a resource's table, read as its records. Raises ``ResourceNotFoundError`` for an unknown name."""

    def columns(self, name: str, fields: Sequence[str] | None = None) -> "Sequence[ColumnElement[Any]]":
        """Return what a statement must select, or return, for ``records`` to read its rows; of all fields, or some."""

    def records(self, name: str, rows: Iterable[Any], fields: Sequence[str] | None = None) -> list[Record]:
        """Return rows that begin with ``columns`` of the same fields as records."""

    def select(
        self,
        name: str,
        *,
        filter: Any = None,  # noqa: A002 - the word of the API
        sort: str | Sequence[str] | None = None,
        fields: str | Sequence[str] | None = None,
    ) -> "Select[Any]":
        """Return the statement that selects ``columns`` of ``fields``, of the records that fit, in a total order.

        It may be joined, and select more. Raises ``ResourceQueryError`` with every fault.
        """

    def refusal(self, name: str, error: BaseException) -> ResourceError:
        """Return what the database says by ``error``, SQLAlchemy's or its driver's, in the names of fields."""


class Bulk(BulkRows, Protocol):
    """The door for statements of one's own: they write, and say here what they have changed."""

    async def watched(self, name: str, change: Change, *, connection: "AsyncConnection") -> bool:
        """Tell whether anybody subscribes to this change; if not, nothing needs to be read back for ``tell``."""

    async def tell(
        self, name: str, change: Change, changed: Sequence[Changed], *, connection: "AsyncConnection"
    ) -> None:
        """Enqueue, in the transaction of ``connection``, what subscribers are told: a job for each 500 records."""


class BlockingBulk(BulkRows, Protocol):
    """The same for a plain handler, by the connection of its transaction."""

    def watched(self, name: str, change: Change, *, connection: "Connection") -> bool:
        """Tell whether anybody subscribes to this change."""

    def tell(self, name: str, change: Change, changed: Sequence[Changed], *, connection: "Connection") -> None:
        """Enqueue, in the transaction of ``connection``, what subscribers are told."""
