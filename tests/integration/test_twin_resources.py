"""``app.resources`` in a plain handler: every method blocks, by the handler's own transaction or without one."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from probes.shelf import jobs_of, open_shelf

from nocohost import AttemptCancelledError, Subscription
from nocohost.api.errors import NestedWriteError, RecordNotFoundError
from nocohost.child.hop import Hop
from nocohost.child.twin_resources import TwinResources
from nocohost.store.blocking import BlockingDatabase


class Stand:
    """The twins, and what stands behind them."""

    def __init__(self, shelf: Any, blocking: BlockingDatabase, hop: Hop) -> None:
        self.shelf = shelf
        self.blocking = blocking
        self.hop = hop
        self.twins = TwinResources(shelf, blocking, hop)

    async def run(self, work: Callable[[], Any]) -> Any:
        return await asyncio.to_thread(work)


@pytest.fixture
async def stand(database) -> AsyncIterator[Stand]:
    loop = asyncio.get_running_loop()
    blocking = BlockingDatabase(database, loop)
    yield Stand(await open_shelf(database), blocking, Hop(loop))
    await asyncio.to_thread(blocking.close)


async def test_every_method_blocks_and_does_what_it_does_elsewhere(stand, database):
    await stand.shelf.subscriptions.set(Subscription("note", "shelf.books", "shelf:note"))
    twins = stand.twins

    def work() -> None:
        made = twins.create("shelf.books", {"title": "a"})
        assert twins.create_many("shelf.books", ({"title": title} for title in "bcd")) == 3
        assert twins.update("shelf.books", made["id"], {"title": "A"})["title"] == "A"
        assert twins.get("shelf.books", made["id"], fields="title") == {"title": "A"}
        assert [one["title"] for one in twins.iterate("shelf.books", page=2, sort="-id", fields="title")] == [
            *"dcb",
            "A",
        ]
        assert len(twins.list("shelf.books", limit=3, filter={"title": {"ne": "A"}}).items) == 3
        assert twins.delete("shelf.books", made["id"])["title"] == "A"
        assert twins.count("shelf.books") == 3
        assert "shelf.books" in twins.declared

    await stand.run(work)
    assert [job["event"] for job in await jobs_of(database)] == ["create", "create", "update", "delete"]


async def test_the_handler_s_own_transaction_is_joined_with_the_jobs_of_subscribers(stand, database):
    await stand.shelf.subscriptions.set(Subscription("note", "shelf.books", "shelf:note"))
    twins = stand.twins

    def work(fails: bool) -> None:
        with stand.blocking.begin() as connection:
            made = twins.create("shelf.books", {"title": "x"}, connection=connection)
            assert twins.get("shelf.books", made["id"], connection=connection) == made
            assert [*twins.iterate("shelf.books", connection=connection, fields="title")] == [{"title": "x"}]
            with pytest.raises(RecordNotFoundError):
                twins.delete("shelf.books", 77, connection=connection)
            if fails:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await stand.run(lambda: work(True))
    assert (await stand.shelf.count("shelf.books"), await jobs_of(database)) == (0, [])
    await stand.run(lambda: work(False))
    assert (await stand.shelf.count("shelf.books"), len(await jobs_of(database))) == (1, 1)


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_a_write_that_would_wait_for_itself_is_refused(stand):
    def work() -> None:
        with stand.blocking.begin():
            stand.twins.create("shelf.books", {"title": "x"})

    with pytest.raises(NestedWriteError, match="pass the transaction along"):
        await stand.run(work)


async def test_a_cancelled_attempt_reads_and_writes_no_more(stand):
    def work() -> None:
        with stand.blocking.begin() as connection:
            stand.hop.cancel()
            stand.twins.create("shelf.books", {"title": "x"}, connection=connection)

    with pytest.raises(AttemptCancelledError):
        await stand.run(work)
    with pytest.raises(AttemptCancelledError):
        await stand.run(lambda: stand.twins.count("shelf.books"))
