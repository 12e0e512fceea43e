"""Whatever a driver raises arrives as an error of nocohost that says whether trying again can help."""
# ruff: noqa: PT012 - what an error does to its block is what is tested

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from integration.queue_bench import node_record
from sqlalchemy import insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import LogCapture

from nocohost.api.errors import ConfigError, StoreConflictError, StoreError, StoreUnavailableError
from nocohost.api.log import Log
from nocohost.node.clock import SystemClock
from nocohost.node.identity import new_id
from nocohost.node.setting_models import Timing
from nocohost.queue.beat import Beat
from nocohost.store.database import SqlDatabase, open_database
from nocohost.store.schema import limits, tokens
from nocohost.store.tokens import create_token, list_tokens
from nocohost.testing.clock import FakeClock
from nocohost.testing.postgres import PostgresServer, find_binaries


@pytest.fixture(scope="module")
def own_server(postgresql_server: PostgresServer) -> Iterator[PostgresServer]:
    """A server that a test may stop."""
    binaries = find_binaries(os.environ)
    assert binaries is not None
    with PostgresServer(binaries) as server:
        yield server


@pytest.fixture
def open_url(breaking_off: None, log: Log) -> Callable[[str], SqlDatabase]:
    return lambda url: open_database(url, clock=SystemClock(), log=log)


async def test_a_unique_conflict_is_one_and_shows_no_values(database: SqlDatabase) -> None:
    with pytest.raises(StoreConflictError) as raised:
        async with database.begin() as connection:
            for _ in range(2):
                await connection.execute(insert(limits).values(key="my secret"))
    assert "my secret" not in str(raised.value)
    assert not raised.value.retryable


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
async def test_two_transactions_that_wait_for_each_other_are_a_conflict(database: SqlDatabase) -> None:
    async with database.begin() as connection:
        await connection.execute(insert(limits), [{"key": "a"}, {"key": "b"}])

    async def lock(connection: AsyncConnection, key: str) -> None:
        await connection.execute(select(limits).where(limits.c.key == key).with_for_update())

    with pytest.raises(StoreConflictError, match="deadlock") as raised:
        async with database.begin() as one, database.begin() as two:
            for connection, key in ((one, "a"), (two, "b")):
                await connection.execute(text("SET LOCAL deadlock_timeout = '20ms'"))
                await lock(connection, key)
            await asyncio.gather(lock(one, "b"), lock(two, "a"))
    assert raised.value.retryable


async def test_a_database_that_stays_away_is_told_of_now_and_then(
    tmp_path: Path, log: Log, log_lines: LogCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> Any:
        raise StoreUnavailableError("the database is away")

    clock = FakeClock()
    database = open_database(f"sqlite:///{tmp_path / 'a.sqlite'}", clock=clock, log=log)
    monkeypatch.setattr(database, "connect", away)
    waiting = asyncio.create_task(database.wait(60.0))
    async with asyncio.timeout(30):
        while not waiting.done():
            await asyncio.sleep(0.01)
            clock.advance(1.0)
    with pytest.raises(StoreUnavailableError, match="gave up after 60 s"):
        await waiting
    await database.close()
    assert 5 <= sum(line["event"] == "database.away" for line in log_lines.entries) <= 6


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
async def test_a_lock_that_does_not_come_free_is_unavailable(database: SqlDatabase) -> None:
    with pytest.raises(StoreUnavailableError):
        async with database.begin() as one, database.begin() as two:
            await one.execute(text("LOCK TABLE nocohost_limits"))
            await two.execute(text("SET LOCAL lock_timeout = '30ms'"))
            await two.execute(select(limits))


async def test_a_mistake_in_a_statement_is_an_error_without_its_parameters(database: SqlDatabase) -> None:
    with pytest.raises(StoreError) as raised:
        async with database.connect() as connection:
            await connection.execute(text("SELECT nothing FROM nowhere WHERE a = :a"), {"a": "my secret"})
    assert not raised.value.retryable
    with pytest.raises(StoreError) as raised_by_value:
        async with database.begin() as connection:
            await connection.execute(insert(limits).values(key="my secret", refilled_at="my secret"))
    assert "my secret" not in f"{raised.value} {raised_by_value.value}"
    assert "my secret" not in str(raised.value.__cause__)  # the log shows that too


async def test_nobody_listening_is_unavailable_after_the_wait(
    own_server: PostgresServer, open_url: Callable[[str], SqlDatabase]
) -> None:
    own_server.stop()
    database = open_url(own_server.url())
    try:
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError, match=r"gave up after 0\.3 s") as raised:
            await database.wait(0.3)
        assert time.monotonic() - began > 0.25
        assert own_server.password not in str(raised.value)
    finally:
        own_server.start()
    await database.wait(10)
    await database.close()


async def test_a_heartbeat_that_finds_nobody_names_the_database_and_tells_of_no_recovery(
    own_server: PostgresServer, open_url: Callable[[str], SqlDatabase], log: Log, log_lines: LogCapture
) -> None:
    own_server.stop()
    database = open_url(own_server.url())
    beat = Beat(database.open_sync, node_record(new_id()), Timing(0.1, 60, 2), renewed=lambda sent_at: None, log=log)
    try:
        beat.start()
        async with asyncio.timeout(10):
            while not log_lines.entries:
                await asyncio.sleep(0.01)
        await asyncio.to_thread(beat.stop)
    finally:
        own_server.start()
    (told,) = log_lines.entries
    assert (told["event"], told["loop"]) == ("loop.failing", "heartbeat")
    assert database.shown in told["reason"]
    assert own_server.password not in told["reason"]
    await database.close()


async def test_a_host_that_is_not_known_is_unavailable(open_url: Callable[[str], SqlDatabase]) -> None:
    database = open_url("postgresql://user:word@nobody.invalid/name")
    with pytest.raises(StoreUnavailableError, match=r"postgresql://user:.*@nobody\.invalid") as raised:
        await database.ping()
    assert "word" not in str(raised.value).replace("password", "")
    await database.close()


@pytest.mark.parametrize("fault", ["password", "user", "database", "encryption"])
async def test_what_waiting_cannot_mend_is_said_at_once(
    postgresql_server: PostgresServer, open_url: Callable[[str], SqlDatabase], fault: str
) -> None:
    url = {
        "password": postgresql_server.url(password="wrong"),
        "user": postgresql_server.url(user="nobody_knows"),
        "database": postgresql_server.url("nobody_knows"),
        "encryption": f"{postgresql_server.url()}?sslmode=require",
    }[fault]
    said = {
        "password": "password authentication failed",
        "user": "password authentication failed",
        "database": 'database "nobody_knows" does not exist',
        "encryption": "server does not support SSL, but SSL was required",
    }[fault]
    database = open_url(url)
    began = time.monotonic()
    with pytest.raises(ConfigError, match=said) as raised:
        await database.wait(30)
    assert time.monotonic() - began < 25, "it did not wait in vain"
    assert "wrong" not in str(raised.value)
    assert postgresql_server.password not in str(raised.value)
    await database.close()


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
async def test_a_missing_right_is_a_fault_of_the_configuration(
    postgresql_server: PostgresServer, database: SqlDatabase
) -> None:
    with pytest.raises(ConfigError, match="a right is missing"):
        async with database.begin() as connection:
            await connection.execute(text("CREATE ROLE weak"))
            await connection.execute(text("SET LOCAL ROLE weak"))
            await connection.execute(select(limits))


async def test_a_restart_costs_one_failure(own_server: PostgresServer, open_url: Callable[[str], SqlDatabase]) -> None:
    database = open_url(own_server.url())
    async with database.begin() as one, database.begin() as two, database.begin() as three:
        for connection in (one, two, three):
            await connection.execute(text("SELECT 1"))
    own_server.stop()
    own_server.start()
    with pytest.raises(StoreUnavailableError):
        await database.ping()
    for _ in range(4):
        await database.ping()
    await database.close()


async def test_a_server_that_stops_within_a_transaction_is_unavailable(
    own_server: PostgresServer, open_url: Callable[[str], SqlDatabase]
) -> None:
    database = open_url(own_server.url())
    with pytest.raises(StoreUnavailableError):
        async with database.begin() as connection:
            await connection.execute(text("SELECT 1"))
            own_server.stop()
            await connection.execute(text("SELECT 1"))
    own_server.start()
    await database.wait(10)
    await database.close()


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
async def test_a_busy_pool_is_unavailable(
    migrated_url: Callable[[], str], log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nocohost.store.engine.BUSY_SECONDS", 0.1)
    database = open_database(migrated_url(), clock=SystemClock(), log=log, pool_size=1)
    with pytest.raises(StoreUnavailableError, match="busy"):
        async with database.connect(), database.connect(), database.connect():
            pytest.fail("two are open")
    await database.close()


async def test_a_damaged_file_is_said_to_be_one(tmp_path: Path, open_url: Callable[[str], SqlDatabase]) -> None:
    file = tmp_path / "damaged.sqlite"
    file.write_bytes(b"no database at all, and long enough to be taken for one" * 100)
    database = open_url(f"sqlite:///{file}")
    with pytest.raises(ConfigError, match=r"damaged\.sqlite"):
        await database.wait(30)
    await database.close()


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_a_file_that_was_cut_short_is_damaged(
    migrated_url: Callable[[], str], open_url: Callable[[str], SqlDatabase]
) -> None:
    url = migrated_url()
    file = Path(url.removeprefix("sqlite:///"))
    with file.open("r+b") as opened:
        opened.truncate(4096 * 2 + 100)
    database = open_url(url)
    with pytest.raises(ConfigError, match="damaged"):
        async with database.begin() as connection:
            await connection.execute(insert(limits).values(key="a"))
    await database.close()


async def test_a_file_that_cannot_be_opened_is_unavailable(
    tmp_path: Path, open_url: Callable[[str], SqlDatabase]
) -> None:
    database = open_url(f"sqlite:///{tmp_path}/folder.sqlite")
    (tmp_path / "folder.sqlite").mkdir()
    with pytest.raises(ConfigError, match="is a folder"):
        open_url(f"sqlite:///{tmp_path}/folder.sqlite")
    with pytest.raises(StoreUnavailableError, match="unable to open"):
        await database.ping()
    await database.close()


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_a_full_disk_is_unavailable(database: SqlDatabase) -> None:
    with pytest.raises(StoreUnavailableError, match="full"):
        async with database.begin() as connection:
            await connection.execute(text("PRAGMA max_page_count = 1"))
            await connection.execute(insert(limits), [{"key": "x" * 1000 + str(number)} for number in range(1000)])


@pytest.mark.parametrize(
    "url", ["", "nonsense", "mysql://host/name", "sqlite://", "sqlite:///:memory:", "postgresql+nodriver"]
)
def test_a_url_that_cannot_be_is_refused(url: str, log: Log) -> None:
    with pytest.raises(ConfigError):
        open_database(url, clock=SystemClock(), log=log)


@pytest.mark.parametrize("url", ["postgresql://u:hush@h/n", "postgresql://u@h/n?password=hush"])
def test_a_password_is_never_shown(url: str, log: Log) -> None:
    assert "hush" not in open_database(url, clock=SystemClock(), log=log).shown


async def test_options_in_the_url_are_stronger_than_our_defaults(
    postgresql_server: PostgresServer, open_url: Callable[[str], SqlDatabase]
) -> None:
    for query, name in (("", "nocohost"), ("?application_name=mine", "mine")):
        database = open_url(postgresql_server.url() + query)
        async with database.connect() as connection:
            assert await connection.scalar(text("SELECT current_setting('application_name')")) == name
        await database.close()


@pytest.mark.parametrize("place", ["folder", "file"])
def test_a_sqlite_file_that_may_not_be_written_is_refused_at_once(
    place: str, tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite would say that it is unable to open it, as for one that is away for a moment."""
    file = tmp_path / "some.sqlite"
    file.touch()
    closed = tmp_path if place == "folder" else file
    monkeypatch.setattr(os, "access", lambda path, mode: path != closed)
    with pytest.raises(ConfigError, match=rf"user {os.getuid()} may not write {closed}") as caught:
        open_database(f"sqlite:///{file}", clock=SystemClock(), log=log)
    assert "NOCOHOST_DATA_DIR" in caught.value.hint


async def test_an_instant_that_could_not_be_read_again_is_not_written(database: SqlDatabase) -> None:
    late = datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))
    with pytest.raises(StoreError, match="outside the years 1 to 9999"):
        async with database.begin() as connection:
            await create_token(connection, "late", [], None)
            await connection.execute(update(tokens).values(expires_at=late))
    async with database.connect() as connection:
        assert await list_tokens(connection) == []
