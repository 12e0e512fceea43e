"""``app.resources.bulk``: statements of one's own, read as records, told of to subscribers, refused in field names."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from probes.shelf import State, books, jobs_of, open_shelf
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import DBAPIError

from nocohost import RecordConflictError, RecordValuesError, ResourceNotFoundError, Subscription
from nocohost.child.hop import Hop
from nocohost.child.twin_resources import TwinResources
from nocohost.store.blocking import BlockingDatabase

ROW = {
    "title": "a",
    "price": Decimal("12.50"),
    "read_at": datetime(2026, 1, 31, 6, tzinfo=UTC),
    "state": State.SOLD,
    "notes": {"a": 1},
}


@pytest.fixture
async def shelf(database):
    return await open_shelf(database)


async def test_rows_of_ones_own_statement_are_read_as_the_door_reads_them(shelf, database):
    bulk = shelf.bulk
    async with database.begin() as connection:
        made = await connection.execute(insert(books).values(ROW).returning(*bulk.columns("shelf.books")))
        (record,) = bulk.records("shelf.books", made.all())
        assert record == await shelf.get("shelf.books", record["id"], connection=connection)
        some = await connection.execute(select(*bulk.columns("shelf.books", ("price", "title"))))
        assert bulk.records("shelf.books", some.all(), ("price", "title")) == [
            {"price": Decimal("12.50"), "title": "a"}
        ]


async def test_subscribers_are_told_of_what_was_written_in_its_own_transaction(shelf, database):
    bulk = shelf.bulk
    await shelf.subscriptions.set(Subscription("note", "shelf.books", "shelf:note", on=("update",), fields=("title",)))
    one = await shelf.create("shelf.books", ROW)
    two = await shelf.create("shelf.books", {**ROW, "title": "b"})
    async with database.begin() as connection:
        assert await bulk.watched("shelf.books", "update", connection=connection)
        assert not await bulk.watched("shelf.books", "create", connection=connection)
        changing = update(books).values(title="c").where(books.c.id == one["id"])
        rows = await connection.execute(changing.returning(*bulk.columns("shelf.books")))
        (after,) = bulk.records("shelf.books", rows.all())
        await bulk.tell("shelf.books", "update", [(one, after), (two, two)], connection=connection)
        await bulk.tell("shelf.books", "create", [(None, after)], connection=connection)
    (told,) = await jobs_of(database)
    assert [(record["before"]["title"], record["after"]["title"]) for record in told["records"]] == [("a", "c")]

    async def fail() -> None:
        async with database.begin() as connection:
            await bulk.tell("shelf.books", "update", [(one, after)], connection=connection)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert len(await jobs_of(database)) == 1


async def test_many_changed_records_make_one_job_for_each_500(shelf, database):
    await shelf.subscriptions.set(Subscription("note", "shelf.books", "shelf:note", on=("create",)))
    changed = [(None, {"id": number}) for number in range(1100)]
    async with database.begin() as connection:
        await shelf.bulk.tell("shelf.books", "create", changed, connection=connection)
    assert [len(job["records"]) for job in await jobs_of(database)] == [500, 500, 100]


async def test_what_the_database_refuses_is_told_in_the_names_of_fields(shelf, database):
    await shelf.create("shelf.books", {"id": 7, "title": "a", "isbn": "9"})

    async def refused(statement):
        with pytest.raises(DBAPIError) as raised:
            async with database._engine.begin() as connection:
                await connection.execute(statement)
        error = shelf.bulk.refusal("shelf.books", raised.value)
        assert type(error) is type(shelf.bulk.refusal("shelf.books", raised.value.orig))
        return error

    taken = await refused(insert(books).values(title="b", isbn="9"))
    assert isinstance(taken, RecordConflictError)
    assert list(taken.faults) == ["isbn: is taken by another record"]
    missing = await refused(text("INSERT INTO shelf_books (isbn) VALUES ('8')"))
    assert isinstance(missing, RecordValuesError)
    assert list(missing.faults) == ["title: must not be null"]


async def test_a_resource_nobody_declares_is_refused(shelf):
    with pytest.raises(ResourceNotFoundError):
        shelf.bulk.columns("shelf.boks")


async def test_a_plain_handler_has_the_same_door(shelf, database):
    await shelf.subscriptions.set(Subscription("note", "shelf.books", "shelf:note"))
    loop = asyncio.get_running_loop()
    blocking = BlockingDatabase(database, loop)
    bulk = TwinResources(shelf, blocking, Hop(loop)).bulk

    def work() -> None:
        with blocking.begin() as connection:
            assert bulk.watched("shelf.books", "create", connection=connection)
            made = connection.execute(insert(books).values(ROW).returning(*bulk.columns("shelf.books")))
            (record,) = bulk.records("shelf.books", made.all())
            bulk.tell("shelf.books", "create", [(None, record)], connection=connection)

    await asyncio.to_thread(work)
    await asyncio.to_thread(blocking.close)
    assert [job["event"] for job in await jobs_of(database)] == ["create"]
