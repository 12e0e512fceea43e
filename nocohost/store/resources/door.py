"""``app.resources``: every declared resource, read and written through one door that tells subscribers."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, insert, select, update

from nocohost.api.changes import Record
from nocohost.api.errors import ResourceNotFoundError, ResourceQueryError
from nocohost.api.filter import parse_filter
from nocohost.api.keys import nearest
from nocohost.api.resource import Resource
from nocohost.api.resources import Page, Subscriptions
from nocohost.api.sort import parse_names, parse_sort
from nocohost.store.database import SqlDatabase
from nocohost.store.resources.bulk import SqlBulk
from nocohost.store.resources.conditions import where
from nocohost.store.resources.conflicts import refusals
from nocohost.store.resources.events import EventQueue, tell
from nocohost.store.resources.listing import Listing, Place
from nocohost.store.resources.rows import accept_rows, insert_rows
from nocohost.store.resources.shape import Shape
from nocohost.store.subscriptions import subscribers

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

MAX_PAGE = 10_000
KEPT_LISTINGS = 256
KEPT_LENGTH = 2000


class SqlResources:
    """Implements ``nocohost.api.resources.Resources``; see there for the promises."""

    def __init__(
        self, database: SqlDatabase, declared: Mapping[str, Resource], queue: EventQueue, subscriptions: Subscriptions
    ) -> None:
        self.declared = declared
        self.subscriptions = subscriptions
        self._database = database
        self._queue = queue
        self._shapes: dict[str, Shape] = {}
        self.bulk = SqlBulk(self._shape, queue)
        self._listings: dict[str, Listing] = {}

    async def list(
        self,
        name: str,
        *,
        filter: Any = None,  # noqa: A002
        sort: str | Sequence[str] | None = None,
        fields: str | Sequence[str] | None = None,
        limit: int = 100,
        after: str | None = None,
        connection: "AsyncConnection | None" = None,
    ) -> Page:
        """Return one page of records; see ``nocohost.api.resources.Resources.list``."""
        if not 1 <= limit <= MAX_PAGE:
            raise ResourceQueryError(f"limit is {limit}", hint=f"1 to {MAX_PAGE}")
        listing = self._listing(name, filter, sort, fields)
        place = None if after is None else listing.place(after)
        async with self._reading(connection) as reading:
            rows, end = await listing.rows(reading, limit, place)
        return Page(listing.records(rows), None if end is None else listing.cursor(end))

    async def iterate(
        self,
        name: str,
        *,
        filter: Any = None,  # noqa: A002
        sort: str | Sequence[str] | None = None,
        fields: str | Sequence[str] | None = None,
        page: int = 1000,
        connection: "AsyncConnection | None" = None,
    ) -> AsyncIterator[Record]:
        """Yield every record; see ``nocohost.api.resources.Resources.iterate``."""
        listing = self._listing(name, filter, sort, fields)
        place: Place | None = None
        while True:
            async with self._reading(connection) as reading:
                rows, place = await listing.rows(reading, page, place)
            for record in listing.records(rows):
                yield record
            if place is None:
                return

    async def count(self, name: str, *, filter: Any = None, connection: "AsyncConnection | None" = None) -> int:  # noqa: A002
        """Return how many records there are."""
        shape = self._shape(name)
        found = parse_filter(filter, shape.fields)
        counting = select(func.count()).select_from(shape.table).where(where(shape, found))
        async with self._reading(connection) as reading:
            return int(await reading.scalar(counting) or 0)

    async def get(
        self,
        name: str,
        key: Any,
        *,
        fields: str | Sequence[str] | None = None,
        connection: "AsyncConnection | None" = None,
    ) -> Record:
        """Return the record of this primary key; raises ``RecordNotFoundError``."""
        shape = self._shape(name)
        names = parse_names(fields, shape.fields)
        values = shape.key_values(key)
        async with self._reading(connection) as reading:
            found = await _find(reading, shape, values, names)
        if found is None:
            raise shape.not_found(key)
        return found

    async def create(self, name: str, values: Record, *, connection: "AsyncConnection | None" = None) -> Record:
        """Create a record and return it whole; see ``nocohost.api.resources.Resources.create``."""
        shape = self._shape(name)
        given = shape.accept(values, creating=True)
        creating = insert(shape.table).values(shape.writing(given)).returning(*shape.select_list(shape.fields))
        async with self._writing(connection) as writing:
            told = await subscribers(writing, name, "create")
            async with refusals(writing, shape, given):
                rows = (await writing.execute(creating)).all()
            (record,) = shape.records(rows, tuple(shape.fields))
            await tell(self._queue, writing, shape, "create", told, [(None, record)])
        return record

    async def create_many(
        self, name: str, rows: Iterable[Record], *, connection: "AsyncConnection | None" = None
    ) -> int:
        """Create records, all or none, and return how many; see ``nocohost.api.resources.Resources.create_many``."""
        shape = self._shape(name)
        given = accept_rows(shape, rows)
        if not given:
            return 0
        async with self._writing(connection) as writing:
            told = await subscribers(writing, name, "create")
            records = await insert_rows(writing, shape, given, returning=bool(told))
            await tell(self._queue, writing, shape, "create", told, [(None, record) for record in records])
        return len(given)

    async def update(
        self, name: str, key: Any, changes: Record, *, connection: "AsyncConnection | None" = None
    ) -> Record:
        """Change some fields of a record and return it whole; see ``nocohost.api.resources.Resources.update``."""
        shape = self._shape(name)
        values = shape.key_values(key)
        given = shape.accept(changes, creating=False)
        names = tuple(shape.fields)
        async with self._writing(connection) as writing:
            told = await subscribers(writing, name, "update") if given else ()
            before = await _find(writing, shape, values, names, lock=True) if told or not given else None
            if (told or not given) and before is None:
                raise shape.not_found(key)
            if not given:
                assert before is not None
                return before
            changing = update(shape.table).where(*shape.is_record(values)).values(shape.writing(given))
            async with refusals(writing, shape, given):
                rows = (await writing.execute(changing.returning(*shape.select_list(names)))).all()
            if not rows:
                raise shape.not_found(key)
            (record,) = shape.records(rows, names)
            await tell(self._queue, writing, shape, "update", told, [(before, record)])
        return record

    async def delete(self, name: str, key: Any, *, connection: "AsyncConnection | None" = None) -> Record:
        """Delete a record and return what it was; raises ``RecordNotFoundError``, ``RecordConflictError``."""
        shape = self._shape(name)
        values = shape.key_values(key)
        names = tuple(shape.fields)
        deleting = delete(shape.table).where(*shape.is_record(values)).returning(*shape.select_list(names))
        async with self._writing(connection) as writing:
            told = await subscribers(writing, name, "delete")
            async with refusals(writing, shape, {}, deleting=True):
                rows = (await writing.execute(deleting)).all()
            if not rows:
                raise shape.not_found(key)
            (record,) = shape.records(rows, names)
            await tell(self._queue, writing, shape, "delete", told, [(record, None)])
        return record

    def _listing(self, name: str, filter_: Any, sort: Any, fields: Any) -> Listing:
        """Return the list that is asked for; the pages of one list share what was made for the first."""
        asked = repr((name, filter_, sort, fields))
        listing = self._listings.get(asked)
        if listing is None:
            shape = self._shape(name)
            names = parse_names(fields, shape.fields)
            listing = Listing(shape, parse_filter(filter_, shape.fields), parse_sort(sort, shape.fields), names)
            if len(self._listings) >= KEPT_LISTINGS:
                self._listings.clear()
            if len(asked) <= KEPT_LENGTH and " object at 0x" not in asked:  # which says nothing of its value
                self._listings[asked] = listing
        return listing

    def _shape(self, name: str) -> Shape:
        shape = self._shapes.get(name)
        if shape is None:
            resource = self.declared.get(name)
            if resource is None:
                raise unknown_resource(name, self.declared)
            shape = self._shapes[name] = Shape(resource, self._database.dialect)
        return shape

    def _reading(self, connection: "AsyncConnection | None") -> "AbstractAsyncContextManager[AsyncConnection]":
        return self._database.connect() if connection is None else nullcontext(connection)

    def _writing(self, connection: "AsyncConnection | None") -> "AbstractAsyncContextManager[AsyncConnection]":
        return self._database.begin() if connection is None else nullcontext(connection)


def unknown_resource(name: str, declared: Mapping[str, Resource]) -> ResourceNotFoundError:
    """Return what whoever asked for a resource that nobody declares is told."""
    meant = nearest(str(name)[:200], declared)
    return ResourceNotFoundError(
        f"no installed plugin declares the resource {str(name)[:200]!r}",
        hint=f"did you mean {meant!r}?" if meant else f"declared: {', '.join(declared) or 'none'}",
    )


async def _find(
    connection: "AsyncConnection", shape: Shape, values: Sequence[Any], names: Sequence[str], *, lock: bool = False
) -> Record | None:
    finding = select(*shape.select_list(names)).where(*shape.is_record(values))
    rows = (await connection.execute(finding.with_for_update() if lock else finding)).all()
    return next(iter(shape.records(rows, names)), None)
