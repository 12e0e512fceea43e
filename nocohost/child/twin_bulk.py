"""``app.resources.bulk`` for plain handlers: everything in the thread itself, by the connection that is given."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from nocohost.api.bulk import Bulk, Changed
from nocohost.api.changes import Change, Record
from nocohost.api.errors import ResourceError
from nocohost.child.hop import Hop
from nocohost.store.blocking import through

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Select


class TwinBulk:
    """Implements ``nocohost.api.bulk.BlockingBulk``."""

    def __init__(self, bulk: Bulk, hop: Hop) -> None:
        self._bulk = bulk
        self._hop = hop

    def columns(self, name: str, fields: Sequence[str] | None = None) -> "Sequence[ColumnElement[Any]]":
        """Return what a statement must select, or return, for ``records`` to read its rows."""
        return self._bulk.columns(name, fields)

    def records(self, name: str, rows: Iterable[Any], fields: Sequence[str] | None = None) -> list[Record]:
        """Return rows that begin with ``columns`` of the same fields as records."""
        return self._bulk.records(name, rows, fields)

    def select(
        self,
        name: str,
        *,
        filter: Any = None,  # noqa: A002
        sort: str | Sequence[str] | None = None,
        fields: str | Sequence[str] | None = None,
    ) -> "Select[Any]":
        """Return the statement that selects ``columns`` of ``fields``, of the records that fit, in a total order."""
        return self._bulk.select(name, filter=filter, sort=sort, fields=fields)

    def refusal(self, name: str, error: BaseException) -> ResourceError:
        """Return what the database says by ``error`` in the names of fields."""
        return self._bulk.refusal(name, error)

    def watched(self, name: str, change: Change, *, connection: "Connection") -> bool:
        """Tell whether anybody subscribes to this change."""
        self._hop.refuse()
        return through(
            connection,
            lambda joined: self._bulk.watched(name, change, connection=joined),
            call_soon=self._hop.call_soon,
        )

    def tell(self, name: str, change: Change, changed: Sequence[Changed], *, connection: "Connection") -> None:
        """Enqueue, in the transaction of ``connection``, what subscribers are told."""
        self._hop.refuse()
        through(
            connection,
            lambda joined: self._bulk.tell(name, change, changed, connection=joined),
            call_soon=self._hop.call_soon,
        )
