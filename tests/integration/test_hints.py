"""Hints between nodes on one database, on both kinds."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from integration.queue_bench import until
from sqlalchemy import text
from structlog.testing import LogCapture

from nocohost.api.log import Log
from nocohost.node.clock import SystemClock
from nocohost.store import file_watch, hints_sqlite
from nocohost.store.database import SqlDatabase, open_database
from nocohost.store.hints import Hints, make_hints
from nocohost.store.hints_postgresql import APPLICATION, NotificationHints


@asynccontextmanager
async def listening(database: SqlDatabase, log: Log) -> AsyncIterator[Hints]:
    """Hints that are known to hear, within the block."""
    hints = make_hints(database, clock=SystemClock(), log=log)
    await hints.start()
    try:
        await until_listening(hints)
        yield hints
    finally:
        await hints.stop()


async def until_listening(hints: Hints) -> None:
    async def is_listening() -> bool:
        return not isinstance(hints, NotificationHints) or hints.is_listening

    await until(is_listening)


async def heard_by(hints: Hints, topic: str = "job") -> "asyncio.Queue[str | None]":
    heard: asyncio.Queue[str | None] = asyncio.Queue()
    hints.subscribe(topic, heard.put_nowait)
    return heard


async def get(heard: "asyncio.Queue[str | None]") -> str | None:
    return await asyncio.wait_for(heard.get(), 30)


async def test_a_hint_reaches_the_other_nodes_and_not_its_sender(database: SqlDatabase, log: Log) -> None:
    async with listening(database, log) as one, listening(database, log) as other, listening(database, log) as third:
        own, heard, also = await heard_by(one), await heard_by(other), await heard_by(third)
        elsewhere = await heard_by(other, "lock")
        one.send("job", "shop:invoice")
        one.send("job", "ümlaut \0 \n 'quote\" \\")
        for queue in (heard, also):
            assert [await get(queue), await get(queue)] == ["shop:invoice", "ümlaut \0 \n 'quote\" \\"]
        other.send("job", "back:again")
        assert await get(own) == "back:again"
        assert elsewhere.empty()
        assert own.empty()


async def test_many_equal_hints_are_few(database: SqlDatabase, log: Log) -> None:
    async with listening(database, log) as one, listening(database, log) as other:
        heard = await heard_by(other)
        for _ in range(1000):
            one.send("job", "shop:invoice")
        one.send("job", "shop:last")
        while await get(heard) != "shop:last":
            pass
        one.send("job", "shop:end")
        count = 0
        while await get(heard) != "shop:end":
            count += 1
        assert count <= 3


async def test_whoever_unsubscribes_hears_no_more(database: SqlDatabase, log: Log) -> None:
    async with listening(database, log) as one, listening(database, log) as other:
        gone: list[str | None] = []
        remove = other.subscribe("job", gone.append)
        heard = await heard_by(other)
        remove()
        one.send("job", "shop:invoice")
        assert await get(heard) == "shop:invoice"
        assert gone == []


async def test_stopping_twice_and_sending_afterwards_harm_nothing(database: SqlDatabase, log: Log) -> None:
    hints = make_hints(database, clock=SystemClock(), log=log)
    await hints.stop()
    await hints.start()
    await hints.stop()
    await hints.stop()
    hints.send("job", "shop:invoice")
    await hints.stop()


async def test_a_hint_of_a_short_life_is_heard(database: SqlDatabase, log: Log) -> None:
    async with listening(database, log) as other:
        heard = await heard_by(other)
        brief = make_hints(database, clock=SystemClock(), log=log)
        await brief.start()
        for number in range(50):
            brief.send("job", f"shop:n{number}")
        await brief.stop()
        assert [await get(heard) for _ in range(50)] == [f"shop:n{number}" for number in range(50)]


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
async def test_a_broken_connection_is_opened_again_and_everybody_looks(
    database: SqlDatabase, log: Log, log_lines: LogCapture
) -> None:
    async with listening(database, log) as one, listening(database, log) as other:
        heard = await heard_by(other)
        for _ in range(2):
            async with database.begin() as connection:
                await connection.execute(
                    text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        f"WHERE application_name = '{APPLICATION}' AND datname = current_database()"
                    )
                )
            one.send("job", "perhaps:lost")
            while await get(heard) is not None:
                pass
            for hints in (one, other):
                await until_listening(hints)
            one.send("job", "shop:invoice")
            while await get(heard) != "shop:invoice":
                pass
    events = [entry["event"] for entry in log_lines.entries]
    assert events.count("hints.away") == events.count("hints.back") == 4


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
async def test_an_idle_node_asks_nothing(database: SqlDatabase, log: Log) -> None:
    async with listening(database, log) as one, listening(database, log) as other:
        heard = await heard_by(other)
        query = text(
            "SELECT query, state, query_start FROM pg_stat_activity "
            f"WHERE application_name = '{APPLICATION}' AND datname = current_database() ORDER BY pid"
        )
        one.send("job", "shop:invoice")
        await get(heard)
        async with database.connect() as connection:
            before = (await connection.execute(query)).all()
        assert [row.state for row in before] == ["idle", "idle"]
        await asyncio.sleep(0.3)
        async with database.connect() as connection:
            assert (await connection.execute(query)).all() == before


async def test_a_database_that_is_away_is_named_once(log: Log, log_lines: LogCapture) -> None:
    database = open_database("postgresql://user:secret@127.0.0.1:1/none", clock=HastyClock(), log=log)
    hints = make_hints(database, clock=HastyClock(), log=log)
    await hints.start()
    async with asyncio.timeout(30):
        while not log_lines.entries:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    hints.send("job", "shop:invoice")
    await hints.stop()
    await database.close()
    (entry,) = log_lines.entries
    assert entry["event"] == "hints.away"
    assert "secret" not in str(entry)


class HastyClock(SystemClock):
    """A clock that does not wait."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0.001)


@pytest.fixture
def hints_file(database: SqlDatabase) -> Path:
    return Path(f"{database.file}-hints")


@pytest.fixture(params=["told", "looking"])
def watching(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "looking":
        monkeypatch.setattr(file_watch, "_inotify", lambda path: None)


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@pytest.mark.usefixtures("watching")
class TestFile:
    async def test_a_hint_is_heard(self, database: SqlDatabase, log: Log) -> None:
        async with listening(database, log) as one, listening(database, log) as other:
            heard = await heard_by(other)
            for number in range(5):
                one.send("job", f"shop:n{number}")
                assert await get(heard) == f"shop:n{number}"

    async def test_a_file_that_has_grown_is_emptied_and_everybody_looks(
        self, database: SqlDatabase, log: Log, hints_file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hints_sqlite, "LARGEST_BYTES", 1000)
        async with listening(database, log) as one, listening(database, log) as other:
            heard = await heard_by(other)
            for number in range(200):
                one.send("job", f"shop:n{number}")
                await asyncio.sleep(0.001)
                assert hints_file.stat().st_size <= 1000
            while await get(heard) is not None:
                pass
            one.send("job", "shop:invoice")
            while await get(heard) != "shop:invoice":
                pass

    async def test_a_file_that_is_removed_is_made_again(
        self, database: SqlDatabase, log: Log, hints_file: Path
    ) -> None:
        async with listening(database, log) as one, listening(database, log) as other:
            heard, own = await heard_by(other), await heard_by(one)
            one.send("job", "shop:invoice")
            assert await get(heard) == "shop:invoice"
            hints_file.unlink()
            assert await get(heard) is None
            assert await get(own) is None
            one.send("job", "shop:invoice")
            assert await get(heard) == "shop:invoice"

    async def test_what_is_old_is_not_heard(self, database: SqlDatabase, log: Log, hints_file: Path) -> None:
        hints_file.write_text('x job "shop:old"\n')
        async with listening(database, log) as one, listening(database, log) as other:
            one.send("job", "shop:older")
            heard = await heard_by(other)
            one.send("job", "shop:new")
            assert await get(heard) == "shop:new"

    async def test_garbage_in_the_file_harms_nothing(self, database: SqlDatabase, log: Log, hints_file: Path) -> None:
        async with listening(database, log) as one, listening(database, log) as other:
            heard = await heard_by(other)
            with hints_file.open("ab") as file:
                file.write(os.urandom(5000) + b"\n\n\n")
            one.send("job", "shop:invoice")
            assert await get(heard) == "shop:invoice"

    async def test_a_file_that_cannot_be_made_is_named_once(
        self, database: SqlDatabase, log: Log, log_lines: LogCapture, hints_file: Path
    ) -> None:
        hints_file.mkdir()
        hints = make_hints(database, clock=SystemClock(), log=log)
        await hints.start()
        heard = await heard_by(hints)
        for number in range(3):
            hints.send("job", f"shop:n{number}")
            await asyncio.sleep(0.01)
        await hints.stop()
        (entry,) = log_lines.entries
        assert entry["event"] == "hints.away"
        assert heard.empty()
