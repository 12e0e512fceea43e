"""A dead process is seen before its lease ends; a live one is never condemned for a connection that was cut."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from database_fixtures import migrate
from integration.queue_bench import KEY, LOG, claim, join_node, make_queue, make_sweep, node_record, read_job
from sqlalchemy import event, func, select, text, update

from nocohost.api.errors import StoreUnavailableError
from nocohost.node.clock import SystemClock
from nocohost.queue.sweep import Sweep
from nocohost.store.database import SqlDatabase, open_database
from nocohost.store.heartbeat import HeartbeatConnection
from nocohost.store.nodes import set_node_state
from nocohost.store.presence import FilePresence, SessionPresence, make_presence
from nocohost.store.schema import nodes
from nocohost.store.types import db_after
from nocohost.testing.postgres import PostgresServer

LEASE = 15.0


class Member:
    """A node with a heartbeat's connection, and a sweep that has watched for long."""

    def __init__(self, database: SqlDatabase, node_id: str) -> None:
        self.id = node_id
        self._database = database
        self.now = 0.0
        self.presence = make_presence(database, node_id, LEASE)
        if isinstance(self.presence, SessionPresence):
            self.presence._monotonic = lambda: self.now
        self.heart = HeartbeatConnection(database.open_sync, self.presence)
        self.sweeping: Sweep = make_sweep(database, node_id)
        self.sweeping.presence = self.presence

    def beat(self) -> None:
        self.heart.beat(node_record(self.id), lease_seconds=LEASE, state="serving")

    async def sweep(self) -> None:
        """Sweep as a node does whose session has been there for long."""
        self.now += 3600.0
        await self.sweeping.turn()

    async def make_late(self, seconds: float = 6.0) -> None:
        """Let the last beat be so long ago; the lease goes on for the rest."""
        async with self._database.begin() as connection:
            late = {"beat_at": db_after(-seconds), "lease_until": db_after(LEASE - seconds)}
            await connection.execute(update(nodes).where(nodes.c.id == self.id).values(**late))

    async def die(self) -> None:
        """Close what the kernel closes of a killed process."""
        connection = self.heart._connection
        assert connection is not None
        if isinstance(self.presence, FilePresence):
            held = self.presence._held
            assert held is not None
            os.close(held)
            self.presence._held = None
            connection.close()
            self.heart._connection = None
        else:
            await terminate(self._database, self)

    async def row(self) -> Any:
        async with self._database.connect() as connection:
            return (await connection.execute(select(nodes).where(nodes.c.id == self.id))).one()


@pytest.fixture
async def pair(database: SqlDatabase, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Two nodes that beat, on a server that counts as old."""
    monkeypatch.setattr("nocohost.store.presence.HAS_BEEN_UP", "{seconds} > 0")
    members = [Member(database, await join_node(database)) for _ in range(2)]
    for member in members:
        member.beat()
    yield members
    for member in members:
        member.heart.close()


async def test_a_dead_process_is_lost_at_once_and_its_jobs_run_elsewhere(
    database: SqlDatabase, pair: list[Member]
) -> None:
    dead, other = pair
    job = await make_queue(database).enqueue(KEY, {})
    await claim(database, dead.id)
    assert (await dead.row()).presence is not None
    await dead.make_late()
    await other.sweep()
    assert (await dead.row()).state == "serving"
    await dead.die()
    await other.sweep()
    row = await dead.row()
    assert (row.state, row.presence) == ("lost", None)
    found = await read_job(database, job.id)
    assert (found.state, found.losses) == ("pending", 1)
    assert (await other.row()).state == "serving"


async def test_a_frozen_process_keeps_its_lock_so_its_lease_alone_decides(pair: list[Member]) -> None:
    frozen, other = pair
    await frozen.make_late(14.0)
    await other.sweep()
    assert (await frozen.row()).state == "serving"
    await frozen.make_late(15.5)
    await other.sweep()
    assert (await frozen.row()).state == "lost"


async def test_a_node_taken_for_lost_comes_back_with_its_next_beat(pair: list[Member]) -> None:
    node, other = pair
    await node.make_late()
    await node.die()
    await other.sweep()
    node.beat()
    row = await node.row()
    assert (row.state, row.presence is not None) == ("serving", True)


async def test_a_node_that_stops_leaves_nothing_behind(database: SqlDatabase, pair: list[Member]) -> None:
    node, other = pair
    node.heart.close()
    if database.file is not None:
        folder = Path(f"{database.file}-nodes")
        assert [file.name for file in folder.iterdir()] == [other.id]
    async with database.begin() as connection:
        await set_node_state(connection, node.id, "stopped")
    await node.make_late()
    await other.sweep()
    assert (await node.row()).state == "stopped"


# SQLite


@pytest.fixture
def on_sqlite(database: SqlDatabase) -> SqlDatabase:
    if database.dialect != "sqlite":
        pytest.skip("files beside a SQLite database")
    return database


async def test_the_file_of_a_dead_node_is_removed_whether_its_row_is_there_or_not(
    on_sqlite: SqlDatabase, pair: list[Member]
) -> None:
    dead, other = pair
    folder = Path(f"{on_sqlite.file}-nodes")
    (folder / "0198c1c8-0000-7000-8000-000000000000").touch()
    (folder / "README").touch()
    await dead.die()
    await other.sweep()
    assert sorted(file.name for file in folder.iterdir()) == sorted(["README", other.id])
    assert (await dead.row()).state == "lost"


async def test_a_file_that_was_removed_tells_nothing(on_sqlite: SqlDatabase, pair: list[Member]) -> None:
    node, other = pair
    (Path(f"{on_sqlite.file}-nodes") / node.id).unlink()
    await other.sweep()
    assert (await node.row()).state == "serving"


async def test_two_that_look_at_the_same_time_do_not_hide_the_dead_from_each_other(
    on_sqlite: SqlDatabase, pair: list[Member]
) -> None:
    dead, other = pair
    third = Member(on_sqlite, await join_node(on_sqlite))
    await dead.die()
    other.presence.absent()
    third.presence.absent()
    assert isinstance(other.presence, FilePresence)
    assert isinstance(third.presence, FilePresence)
    assert list(other.presence._dead) == list(third.presence._dead) == [dead.id]


async def test_an_idle_sweep_on_sqlite_asks_once(on_sqlite: SqlDatabase, pair: list[Member]) -> None:
    statements: list[str] = []
    event.listen(on_sqlite._reading.sync_engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    await pair[1].sweep()
    assert len([one for one in statements if one != "BEGIN"]) == 1


# PostgreSQL


@pytest.fixture
def on_postgresql(database: SqlDatabase) -> SqlDatabase:
    if database.dialect != "postgresql":
        pytest.skip("sessions of PostgreSQL")
    return database


async def backends(database: SqlDatabase) -> int:
    async with database.connect() as connection:
        held = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()")
        return int(await connection.scalar(held) or 0)


async def terminate(database: SqlDatabase, node: Member) -> None:
    """End the session of a heartbeat as an administrator may, or a network."""
    assert node.heart._connection is not None
    pid = node.heart._connection.connection.driver_connection.info.backend_pid  # type: ignore[union-attr]
    async with database.autocommit() as connection:
        await connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})


async def test_a_live_node_survives_the_end_of_its_heartbeats_session(
    on_postgresql: SqlDatabase, pair: list[Member]
) -> None:
    node, other = pair
    before = (await node.row()).presence
    await terminate(on_postgresql, node)
    await node.make_late(3.0)
    await other.sweep()
    assert (await node.row()).state == "serving", "it is not late yet"
    node.beat()
    await other.sweep()
    row = await node.row()
    assert row.state == "serving"
    assert row.presence not in {None, before}


async def test_who_beats_while_it_is_judged_is_not_condemned(on_postgresql: SqlDatabase, pair: list[Member]) -> None:
    node, other = pair
    await node.make_late()
    await terminate(on_postgresql, node)
    absent = other.presence.absent
    other.now += 3600.0
    condition = absent()

    def beaten_meanwhile() -> Any:
        node.beat()
        return condition

    other.presence.absent = beaten_meanwhile  # type: ignore[method-assign]
    await other.sweeping.turn()
    assert (await node.row()).state == "serving"


async def test_a_node_whose_own_session_is_young_judges_nobody(on_postgresql: SqlDatabase, pair: list[Member]) -> None:
    """After a restart or a failover every session is young, and every lock is gone."""
    node, other = pair
    await node.make_late()
    await node.die()
    other.now += 5.0
    await other.sweeping.turn()
    assert (await node.row()).state == "serving"
    await terminate(on_postgresql, other)
    other.now += 3600.0
    other.beat()
    await other.sweeping.turn()
    assert (await node.row()).state == "serving", "its session was broken, and began anew"
    other.now += 10.0
    await other.sweeping.turn()
    assert (await node.row()).state == "serving"
    other.now += 0.6
    await other.sweeping.turn()
    assert (await node.row()).state == "lost"


async def test_a_process_that_has_just_started_judges_after_one_late_beat(
    on_postgresql: SqlDatabase, pair: list[Member]
) -> None:
    node, other = pair
    await node.make_late()
    await node.die()
    other.now += 5.3
    await other.sweeping.turn()
    assert (await node.row()).state == "lost"


async def test_a_server_that_has_just_started_condemns_nobody(
    on_postgresql: SqlDatabase, pair: list[Member], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the judge believes to have watched."""
    node, other = pair
    await node.make_late()
    await node.die()
    monkeypatch.setattr(
        "nocohost.store.presence.HAS_BEEN_UP",
        "pg_postmaster_start_time() <= clock_timestamp() - interval '1 year' - interval '{seconds} seconds'",
    )
    await other.sweep()
    assert (await node.row()).state == "serving"


async def test_behind_a_pooler_there_is_no_presence(
    on_postgresql: SqlDatabase, pair: list[Member], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pooler tells the driver of a process of its own; and the session of one beat is not that of the next."""
    node, other = pair
    second = on_postgresql.open_sync().connect().execution_options(isolation_level="AUTOCOMMIT")
    first, node.heart._connection = node.heart._connection, second
    node.beat()
    assert (await node.row()).presence is None, "another session beats than the one that holds the lock"
    await node.make_late(14.0)
    await other.sweep()
    assert (await node.row()).state == "serving"
    second.close()
    node.heart._connection = first
    assert isinstance(node.presence, SessionPresence)
    assert first is not None

    class Pooled:
        backend_pid = 12345

    driver = first.connection.driver_connection
    fake = type("Fake", (), {"connection": type("C", (), {"driver_connection": type("D", (), {"info": Pooled})})})
    pretending: Any = fake()
    pretending.begin, pretending.scalar = first.begin, first.scalar
    before = await backends(on_postgresql)
    node.presence.take(pretending)
    assert node.presence._key is None
    assert await backends(on_postgresql) == before, "and no lock stays behind in a session of the pooler"
    assert driver is not None


async def test_the_beat_connects_anew_at_once_and_gives_up_when_that_fails_too(
    on_postgresql: SqlDatabase, pair: list[Member], monkeypatch: pytest.MonkeyPatch
) -> None:
    node, _ = pair
    await terminate(on_postgresql, node)
    node.beat()
    await terminate(on_postgresql, node)

    def away() -> Any:
        raise StoreUnavailableError("away")

    monkeypatch.setattr(node.heart, "_engine", None)
    monkeypatch.setattr(node.heart, "_open_engine", away)
    with pytest.raises(StoreUnavailableError):
        node.beat()
    async with on_postgresql.connect() as connection:
        assert await connection.scalar(select(func.count()).select_from(nodes)) == 2


@pytest.fixture(scope="module")
def own_server(postgresql_server: PostgresServer) -> Iterator[PostgresServer]:
    """A PostgreSQL server that a test may restart."""
    with PostgresServer(postgresql_server._binaries, durable=True) as server:
        yield server


async def test_a_restart_of_the_database_condemns_nobody(own_server: PostgresServer, names: Iterator[str]) -> None:
    url = own_server.create_database(next(names))
    migrate(url)
    database = open_database(url, clock=SystemClock(), log=LOG)
    node, other = [Member(database, await join_node(database)) for _ in range(2)]
    for member in (node, other):
        member.beat()
    own_server.stop()
    own_server.start()
    with pytest.raises(StoreUnavailableError):
        await node.make_late(6.0)  # the pool finds out that its connection is gone
    await node.make_late(6.0)
    other.now += 3600.0
    other.beat()
    await other.sweeping.turn()
    assert (await node.row()).state == "serving"
    node.beat()
    await other.sweep()
    assert (await node.row()).state == "serving"
    for member in (node, other):
        member.heart.close()
    await database.close()
