"""The door to the resources of all plugins, as plugin code sees it; and subscriptions to what changes in them."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from nocohost.api.bulk import Bulk
from nocohost.api.changes import CHANGES, Change, Record
from nocohost.api.errors import ResourceQueryError
from nocohost.api.keys import is_key
from nocohost.api.resource import Resource

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

MAX_NAME = 200


class Page(NamedTuple):
    """Some records, and the cursor of the page after them; None on the last one."""

    items: Sequence[Record]
    next: str | None


@dataclass(frozen=True, slots=True)
class Subscription:
    """A standing order: for each change of a resource that fits, one job is enqueued under ``key``.

    ``on`` says which changes; of updates only those in which one of ``fields`` changed, if any are named. ``data`` is
    carried to every job. A job's payload is an object of ``resource``, ``event``, ``subscription``, ``data`` and
    ``records``, a list of ``{"key", "before", "after"}`` as JSON has them.
    """

    name: str
    resource: str
    key: str
    on: tuple[Change, ...] = field(default=("create", "update", "delete"), kw_only=True)
    fields: tuple[str, ...] = field(default=(), kw_only=True)
    data: Mapping[str, Any] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        where = f"subscription {str(self.name)[:MAX_NAME]!r}"
        if not isinstance(self.name, str) or not 0 < len(self.name) <= MAX_NAME or not self.name.isprintable():
            raise ResourceQueryError(f"{where}: a name is a text of 1 to {MAX_NAME} printable characters")
        if not is_key(self.key):
            raise ResourceQueryError(f"{where}: {self.key!r} is no service key", hint="a key reads noun:verb")
        if not self.on or isinstance(self.on, str) or not set(self.on) <= set(CHANGES):
            raise ResourceQueryError(f"{where}: on is {self.on!r}", hint=f"one or more of: {', '.join(CHANGES)}")
        if isinstance(self.fields, str):
            raise ResourceQueryError(f"{where}: fields is a text", hint="give a list of names")
        object.__setattr__(self, "on", tuple(change for change in CHANGES if change in self.on))
        object.__setattr__(self, "fields", tuple(dict.fromkeys(self.fields)))


class Subscriptions(Protocol):
    """The subscriptions of the whole cluster, kept in the database. A change of them holds from its commit on."""

    async def set(self, subscription: Subscription, *, connection: "AsyncConnection | None" = None) -> None:
        """Make the subscription, or change the one of this name.

        Raises ``ResourceNotFoundError``, ``ResourceQueryError`` for a field that is none, and ``UnknownKeyError``.
        """

    async def remove(self, name: str, *, connection: "AsyncConnection | None" = None) -> bool:
        """Remove the subscription of this name; return False without one."""

    async def list(self, resource: str | None = None) -> Sequence[Subscription]:
        """Return every subscription, or those to one resource, by name."""


class Resources(Protocol):
    """Every declared resource: reading, and the one write path that tells subscribers.

    Values may be given as Python or as JSON has them. With ``connection`` everything is part of the caller's
    transaction, the jobs for subscribers too: all commit or none. Whoever has the app is asked for no permission.
    What is written past this door, through ``app.database``, is stored and tells nobody.

    Every method raises ``ResourceNotFoundError`` for a name that no installed plugin declares, and ``StoreError``.
    """

    @property
    def declared(self) -> Mapping[str, Resource]:
        """Return every resource that an installed plugin declares, by name."""

    @property
    def subscriptions(self) -> Subscriptions:
        """Return the door to the subscriptions."""

    @property
    def bulk(self) -> Bulk:
        """Return the door for code that reads or writes many records by statements of its own."""

    async def list(
        self,
        name: str,
        *,
        filter: Any = None,  # noqa: A002 - the word of the API
        sort: str | Sequence[str] | None = None,
        fields: str | Sequence[str] | None = None,
        limit: int = 100,
        after: str | None = None,
        connection: "AsyncConnection | None" = None,
    ) -> Page:
        """Return one page of records, in a total order: ``sort``, then the primary key.

        ``after`` is ``next`` of the page before, of the same filter and sort. Records that come in between appear when
        they sort after it, and none is skipped or repeated unless its own sort fields change meanwhile. Raises
        ``ResourceQueryError`` with every fault.
        """

    def iterate(
        self,
        name: str,
        *,
        filter: Any = None,  # noqa: A002
        sort: str | Sequence[str] | None = None,
        fields: str | Sequence[str] | None = None,
        page: int = 1000,
        connection: "AsyncConnection | None" = None,
    ) -> AsyncIterator[Record]:
        """Yield every record, page by page in memory that does not grow; no connection is held between pages."""

    async def count(self, name: str, *, filter: Any = None, connection: "AsyncConnection | None" = None) -> int:  # noqa: A002
        """Return how many records there are."""

    async def get(
        self,
        name: str,
        key: Any,
        *,
        fields: str | Sequence[str] | None = None,
        connection: "AsyncConnection | None" = None,
    ) -> Record:
        """Return the record of this primary key; raises ``RecordNotFoundError``.

        ``key`` is the value, for a key of several fields a sequence in their order or a mapping by name.
        """

    async def create(self, name: str, values: Record, *, connection: "AsyncConnection | None" = None) -> Record:
        """Create a record and return it whole, with what the database filled in.

        Raises ``RecordValuesError`` with every fault, and ``RecordConflictError`` naming the fields; on PostgreSQL the
        latter spoils the transaction of ``connection``.
        """

    async def create_many(
        self, name: str, rows: Iterable[Record], *, connection: "AsyncConnection | None" = None
    ) -> int:
        """Create records, all or none, and return how many; subscribers get one job for each 500 of them.

        Raises as ``create`` does, naming rows by their place counted from 1. On SQLite a transaction lasts 5 s at most:
        give many rows in several calls.
        """

    async def update(
        self, name: str, key: Any, changes: Record, *, connection: "AsyncConnection | None" = None
    ) -> Record:
        """Change some fields of a record and return it whole; the primary key cannot change.

        Raises ``RecordNotFoundError`` and as ``create`` does.
        """

    async def delete(self, name: str, key: Any, *, connection: "AsyncConnection | None" = None) -> Record:
        """Delete a record and return what it was; raises ``RecordNotFoundError``, ``RecordConflictError``."""
