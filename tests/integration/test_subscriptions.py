"""What a change of a resource makes: one job for each subscription that fits, in the transaction of the writer."""

import pytest
from probes.shelf import jobs_of, open_shelf

from nocohost import (
    JobType,
    RecordConflictError,
    ResourceNotFoundError,
    ResourceQueryError,
    Subscription,
    UnknownKeyError,
)
from nocohost.queue.enqueue import JobQueue
from nocohost.store.resources.standing import StandingOrders


@pytest.fixture
async def shelf(database):
    return await open_shelf(database)


def note(name: str = "note", **options) -> Subscription:
    return Subscription(name, "shelf.books", "shelf:note", **options)


async def test_each_change_makes_one_job_with_the_record_before_and_after(shelf, database):
    await shelf.subscriptions.set(note(data={"flow": 7}))
    made = await shelf.create("shelf.books", {"title": "x", "price": "1.50"})
    await shelf.update("shelf.books", made["id"], {"price": "2.00"})
    await shelf.delete("shelf.books", made["id"])
    created, updated, deleted = await jobs_of(database)
    assert {name: created[name] for name in ("resource", "event", "subscription", "data")} == {
        "resource": "shelf.books",
        "event": "create",
        "subscription": "note",
        "data": {"flow": 7},
    }
    (record,) = created["records"]
    assert record["before"] is None
    assert (record["key"], record["after"]["price"]) == ({"id": made["id"]}, "1.50")
    (record,) = updated["records"]
    assert (record["before"]["price"], record["after"]["price"]) == ("1.50", "2.00")
    (record,) = deleted["records"]
    assert (deleted["event"], record["before"]["price"], record["after"]) == ("delete", "2.00", None)


async def test_only_what_is_waited_for_makes_a_job(shelf, database):
    await shelf.subscriptions.set(note("price", on=("update",), fields=("price", "pages")))
    await shelf.subscriptions.set(note("gone", on=("delete",), fields=("price",)))
    await shelf.subscriptions.set(Subscription("copies", "shelf.copies", "shelf:other"))
    made = await shelf.create("shelf.books", {"title": "x"})
    await shelf.update("shelf.books", made["id"], {"title": "y"})
    await shelf.update("shelf.books", made["id"], {"title": "y", "price": None})
    assert await jobs_of(database) == []
    await shelf.update("shelf.books", made["id"], {"pages": 5, "title": "z"})
    await shelf.update("shelf.books", made["id"], {"pages": 5})
    await shelf.delete("shelf.books", made["id"])
    assert [job["subscription"] for job in await jobs_of(database)] == ["price", "gone"]


async def test_a_change_that_is_taken_back_makes_no_job(shelf, database):
    await shelf.subscriptions.set(note())
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        async with database.begin() as connection:
            await shelf.create("shelf.books", {"title": "x"}, connection=connection)
            raise ZeroDivisionError
    await shelf.create("shelf.books", {"id": 1000, "title": "x"})
    with pytest.raises(RecordConflictError):
        await shelf.create("shelf.books", {"id": 1000, "title": "x"})
    assert len(await jobs_of(database)) == 1


async def test_a_write_past_the_door_makes_none(shelf, database):
    await shelf.subscriptions.set(note())
    async with database.begin() as connection:
        await connection.exec_driver_sql("INSERT INTO shelf_books (title) VALUES ('x')")
    assert await jobs_of(database) == []


async def test_many_rows_make_a_job_for_each_chunk_and_none_larger_than_the_queue_takes(database):
    shelf = await open_shelf(database, payload_bytes=20_000)
    await shelf.subscriptions.set(note())
    rows = [{"title": str(place), "notes": "x" * 100} for place in range(1100)]
    rows[700]["notes"] = "x" * 30_000
    await shelf.create_many("shelf.books", rows)
    jobs = await jobs_of(database)
    told = [record for job in jobs for record in job["records"]]
    assert [record["key"]["id"] for record in told] == list(range(1, 1101))
    assert [record.get("too_large", False) for record in told].count(True) == 1
    assert told[700] == {"key": {"id": 701}, "before": None, "after": None, "too_large": True}
    assert len(jobs) > 3
    whole = await open_shelf(database)
    await whole.create_many("shelf.books", [{"title": "y"}] * 1100)
    assert [len(job["records"]) for job in (await jobs_of(database))[len(jobs) :]] == [500, 500, 100]


async def test_a_subscription_is_changed_by_its_name_listed_and_removed(shelf, database):
    await shelf.subscriptions.set(note(on=["delete", "create"]))
    await shelf.subscriptions.set(Subscription("a", "shelf.copies", "shelf:other", data={"x": 1}))
    await shelf.subscriptions.set(note(on=("update",), fields=["title"]))
    assert await shelf.subscriptions.list("shelf.books") == [note(on=("update",), fields=("title",))]
    assert [one.name for one in await shelf.subscriptions.list()] == ["a", "note"]
    async with database.begin() as connection:
        assert await shelf.subscriptions.remove("note", connection=connection)
        await shelf.subscriptions.set(note("b"), connection=connection)
    assert not await shelf.subscriptions.remove("note")
    assert [one.name for one in await shelf.subscriptions.list()] == ["a", "b"]


async def test_what_cannot_be_subscribed_to_is_refused(shelf):
    with pytest.raises(ResourceNotFoundError, match="did you mean"):
        await shelf.subscriptions.set(Subscription("x", "shelf.boks", "shelf:note"))
    with pytest.raises(ResourceQueryError, match="did you mean 'title'"):
        await shelf.subscriptions.set(note(fields=("titel",)))
    with pytest.raises(UnknownKeyError, match="did you mean 'shelf:note'"):
        await shelf.subscriptions.set(Subscription("x", "shelf.books", "shelf:not"))
    with pytest.raises(ResourceQueryError, match="no room"):
        await shelf.subscriptions.set(note(data={"x": "y" * 200_000}))
    for options in ({"on": ()}, {"on": ("made",)}, {"on": "create"}, {"fields": "title"}):
        with pytest.raises(ResourceQueryError):
            note(**options)
    with pytest.raises(ResourceQueryError, match="no service key"):
        Subscription("x", "shelf.books", "note")
    with pytest.raises(ResourceQueryError, match="printable"):
        note("")


async def test_a_subscriber_that_is_gone_does_not_stop_the_writer(shelf, database):
    await shelf.subscriptions.set(note())
    queue = JobQueue(
        database,
        lambda key: JobType(key, priority=3),
        keys=["else:where"],
        external_keys=(),
        payload_bytes=9000,
    )
    told: list[tuple[str, int]] = []
    queue.on_enqueued = lambda key, count: told.append((key, count))
    without = type(shelf)(database, shelf.declared, queue, StandingOrders(database, shelf.declared, queue))
    await without.create("shelf.books", {"title": "x"})
    assert len(await jobs_of(database)) == 1
    assert told == [("shelf:note", 1)]
