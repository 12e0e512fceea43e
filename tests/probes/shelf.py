"""A table with every kind of field, shared as a resource, for tests; and the door to it without a node."""

from collections.abc import Sequence
from enum import Enum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    Time,
    Uuid,
    func,
)
from sqlalchemy import Enum as EnumType
from sqlalchemy.types import TypeDecorator

from nocohost.api.resource import Resource
from nocohost.queue.enqueue import JobQueue
from nocohost.store.database import SqlDatabase
from nocohost.store.resources.door import SqlResources
from nocohost.store.resources.standing import StandingOrders
from nocohost.store.schema import jobs


class State(Enum):
    NEW = "n"
    SOLD = "s"


class Mirrored(TypeDecorator[str]):
    """A plugin's own type: the database has the text backwards."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return value and value[::-1]

    def process_result_value(self, value: str | None, dialect: Any) -> str | None:
        return value and value[::-1]


metadata = MetaData()
makers = Table("shelf_makers", metadata, Column("code", String(20), primary_key=True), Column("name", Text))
books = Table(
    "shelf_books",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("title", String(40), nullable=False),
    Column("isbn", Text, unique=True),
    Column("maker", String(20), ForeignKey("shelf_makers.code")),
    Column("pages", BigInteger),
    Column("price", Numeric(10, 2)),
    Column("weight", Float),
    Column("is_new", Boolean),
    Column("state", EnumType(State, name="shelf_state")),
    Column("printed_on", Date),
    Column("opens_at", Time),
    Column("read_at", DateTime(timezone=True)),
    Column("local_at", DateTime),
    Column("made_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("mark", Uuid),
    Column("notes", JSON),
    Column("cover", LargeBinary),
)
copies = Table(
    "shelf_copies",
    metadata,
    Column("book", ForeignKey("shelf_books.id"), primary_key=True),
    Column("number", String(20), primary_key=True),
    Column("place", Text),
)
labels = Table(
    "shelf_labels",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("text", Mirrored),
    Column("mark", Uuid(native_uuid=False)),
)
BOOKS = Resource(
    "shelf.books", books, title="Books", field_titles={"title": "Title"}, read="shelf.read", write="shelf.write"
)
COPIES = Resource("shelf.copies", copies, read="shelf.read", write="shelf.write")
MAKERS = Resource("shelf.makers", makers, read="shelf.read", write="shelf.write")
LABELS = Resource("shelf.labels", labels, read="shelf.read", write="shelf.write")
DECLARED = {one.name: one for one in (BOOKS, COPIES, MAKERS, LABELS)}


async def open_shelf(
    database: SqlDatabase, *, keys: Sequence[str] = ("shelf:note", "shelf:other"), payload_bytes: int = 262_144
) -> SqlResources:
    """Create the tables and return ``app.resources`` over them."""
    async with database.begin() as connection:
        await connection.run_sync(metadata.create_all)
    queue = JobQueue(database, lambda key: None, keys=keys, external_keys=(), payload_bytes=payload_bytes)
    orders = StandingOrders(database, DECLARED, queue)
    return SqlResources(database, DECLARED, queue, orders)


async def jobs_of(database: SqlDatabase) -> list[Any]:
    """Return the payloads of every job, in the order in which they were made."""

    async with database.connect() as connection:
        return list(
            (await connection.scalars(jobs.select().with_only_columns(jobs.c.payload).order_by(jobs.c.id))).all()
        )
