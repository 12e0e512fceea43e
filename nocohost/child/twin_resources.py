"""``app.resources`` for plain handlers: in the thread itself by a given connection, else by the event loop."""

from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from nocohost.api.changes import Record
from nocohost.api.errors import NestedWriteError
from nocohost.api.resource import Resource
from nocohost.api.resources import Page, Resources
from nocohost.child.hop import Hop
from nocohost.child.twin_bulk import TwinBulk
from nocohost.store.blocking import BlockingDatabase, through

if TYPE_CHECKING:
    from sqlalchemy import Connection

T = TypeVar("T")


class TwinResources:
    """Implements ``nocohost.api.blocking.BlockingResources``."""

    def __init__(self, resources: Resources, database: BlockingDatabase, hop: Hop) -> None:
        self._resources = resources
        self._database = database
        self._hop = hop
        self.bulk = TwinBulk(resources.bulk, hop)

    @property
    def declared(self) -> Mapping[str, Resource]:
        """Return every resource that an installed plugin declares, by name."""
        return self._resources.declared

    def list(self, name: str, *, connection: "Connection | None" = None, **options: Any) -> Page:
        """Return one page of records."""
        return self._read(lambda joined: self._resources.list(name, connection=joined, **options), connection)

    def iterate(
        self, name: str, *, page: int = 1000, connection: "Connection | None" = None, **options: Any
    ) -> Iterator[Record]:
        """Yield every record, page by page."""
        after: str | None = None
        while True:
            found = self.list(name, connection=connection, limit=page, after=after, **options)
            yield from found.items
            after = found.next
            if after is None:
                return

    def count(self, name: str, *, connection: "Connection | None" = None, **options: Any) -> int:
        """Return how many records there are."""
        return self._read(lambda joined: self._resources.count(name, connection=joined, **options), connection)

    def get(self, name: str, key: Any, *, connection: "Connection | None" = None, **options: Any) -> Record:
        """Return the record of this primary key."""
        return self._read(lambda joined: self._resources.get(name, key, connection=joined, **options), connection)

    def create(self, name: str, values: Record, *, connection: "Connection | None" = None) -> Record:
        """Create a record and return it whole."""
        return self._write(lambda joined: self._resources.create(name, values, connection=joined), connection)

    def create_many(self, name: str, rows: Iterable[Record], *, connection: "Connection | None" = None) -> int:
        """Create records, all or none, and return how many."""
        every = [*rows]  # made in this thread: the handler's code may block
        return self._write(lambda joined: self._resources.create_many(name, every, connection=joined), connection)

    def update(self, name: str, key: Any, changes: Record, *, connection: "Connection | None" = None) -> Record:
        """Change some fields of a record and return it whole."""
        return self._write(lambda joined: self._resources.update(name, key, changes, connection=joined), connection)

    def delete(self, name: str, key: Any, *, connection: "Connection | None" = None) -> Record:
        """Delete a record and return what it was."""
        return self._write(lambda joined: self._resources.delete(name, key, connection=joined), connection)

    def _read(self, call: Callable[[Any], Coroutine[Any, Any, T]], connection: "Connection | None") -> T:
        if connection is None:
            return self._hop.wait(call(None))
        self._hop.refuse()
        return through(connection, call, call_soon=self._hop.call_soon)

    def _write(self, call: Callable[[Any], Coroutine[Any, Any, T]], connection: "Connection | None") -> T:
        if connection is None and self._database.in_write_transaction:
            raise NestedWriteError(
                "a write to a resource inside a transaction would wait for itself",
                hint="pass the transaction along: connection=connection",
            )
        return self._read(call, connection)
