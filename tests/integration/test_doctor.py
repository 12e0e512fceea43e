"""What the doctor finds, on both databases: each fault is made, found, and told with what to do about it."""

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from integration.queue_bench import KEY, claim, make_queue, settle
from sqlalchemy import text, update

from nocohost.api.clock import Clock
from nocohost.api.errors import StoreUnavailableError
from nocohost.api.log import Log
from nocohost.api.service import JobType
from nocohost.host import doctor
from nocohost.host.doctor import MUCH_WAL_BYTES, Finding, examine_database, examine_folder
from nocohost.node.clock import SystemClock
from nocohost.node.identity import new_id
from nocohost.node.settings import AdminSettings, HttpSettings, Settings
from nocohost.store import vitals
from nocohost.store.database import SqlDatabase, open_database
from nocohost.store.keys import pause_key
from nocohost.store.nodes import NodeRecord, register_node
from nocohost.store.revisions import core_migrations
from nocohost.store.schema import migrations, nodes
from nocohost.store.tokens import create_token
from nocohost.store.types import db_after
from nocohost.store.vitals import is_pooled, long_waits, old_snapshots
from nocohost.testing.clock import FakeClock

DECLARED = {KEY: "acme-shop"}


async def examine(
    database: SqlDatabase, settings: Settings | None = None, clock: Clock | None = None
) -> dict[str, Finding]:
    """Return the worst finding of each check."""
    levels = ("ok", "warning", "problem")
    found = await examine_database(
        database, settings or Settings(), [core_migrations()], DECLARED, clock=clock or SystemClock()
    )
    for one in found:
        assert one.level in levels
        assert one.hint or one.level == "ok", "a fault comes with what to do about it"
    return {one.check: one for one in sorted(found, key=lambda one: levels.index(one.level))}


def faults(found: dict[str, Finding]) -> dict[str, str]:
    return {check: one.level for check, one in found.items() if one.level != "ok"}


async def join(database: SqlDatabase, name: str, *served: str, state: str = "serving", version: str = "1.0") -> str:
    record = NodeRecord(new_id(), name, "*", False, served, version, {"acme-shop": version})
    async with database.begin() as connection:
        await register_node(connection, record, lease_seconds=60, state=state)
    return record.id


async def test_a_healthy_cluster_has_no_fault(database: SqlDatabase) -> None:
    await join(database, "left", KEY)
    await make_queue(database, JobType(KEY)).enqueue(KEY, {})
    found = await examine(database)
    assert faults(found) == {}
    own = {"pooler", "snapshots", "locks"} if database.dialect == "postgresql" else {"wal"}
    always = {"database", "clock", "schema", "nodes", "unserved", "dead_letters", "admin_token"}
    assert set(found) == always | own
    assert found["nodes"].message == "1 live nodes: left serving"
    assert ("PostgreSQL 1" if database.dialect == "postgresql" else "SQLite 3") in found["database"].message


async def test_work_that_nobody_serves_and_orphans_are_problems(database: SqlDatabase) -> None:
    node = await join(database, "left", KEY)
    await make_queue(database, JobType(KEY)).enqueue_many(KEY, [{}, {}, {}])
    await claim(database, node)
    async with database.begin() as connection:
        await connection.execute(update(nodes).values(lease_until=db_after(-1), state="lost"))
    found = await examine(database)
    assert faults(found) == {"unserved": "problem", "orphans": "problem", "lost_nodes": "warning"}
    assert f"2 jobs of {KEY} are due and no live node serves it" in found["unserved"].message
    assert f"1 running jobs of {KEY} are orphans" in found["orphans"].message
    assert f"node left ({node}) was lost" in found["lost_nodes"].message
    async with database.begin() as connection:
        await connection.execute(update(nodes).values(beat_at=db_after(-2 * 86_400)))
    assert "lost_nodes" not in faults(await examine(database))


async def test_what_a_person_should_look_at_is_a_warning(database: SqlDatabase) -> None:
    node = await join(database, "left", KEY)
    await join(database, "right", state="quiet", version="0.9")
    await make_queue(database, JobType(KEY)).enqueue(KEY, {})
    (row,) = await claim(database, node)
    assert await settle(database, row, "dead", error="never")
    async with database.begin() as connection:
        await pause_key(connection, KEY, "ada")
    found = await examine(database)
    assert faults(found) == dict.fromkeys(("quiet_nodes", "versions", "paused", "dead_letters"), "warning")
    assert "right" in found["quiet_nodes"].message
    assert "0.9 on 1, 1.0 on 1" in found["versions"].message
    assert "by ada" in found["paused"].message
    assert f"1 of {KEY}" in found["dead_letters"].message


async def test_a_clock_that_is_years_off_is_a_problem(database: SqlDatabase) -> None:
    found = await examine(database, clock=FakeClock())
    # SQLite has no clock of its own: what is asked there is the machine's.
    assert faults(found) == ({"clock": "problem"} if database.dialect == "postgresql" else {})


async def test_a_schema_that_is_not_there_or_too_new_is_told_and_nothing_is_changed(
    database_url: Callable[[], str], migrated_url: Callable[[], str], log: Log
) -> None:
    for url, level in (
        (database_url(), "behind: it is at nothing, and"),
        (migrated_url(), "too new: it is at 9999, and"),
    ):
        database = open_database(url, clock=SystemClock(), log=log)
        try:
            if level.startswith("too new"):
                async with database.begin() as connection:
                    await connection.execute(text("UPDATE nocohost_alembic SET version_num = '9999'"))
                    newer = {"version": "99.0", "runnable_from": "98.0"}
                    changed = await connection.execute(update(migrations).values(**newer))
                    assert changed.rowcount
            found = await examine(database)
            assert faults(found) == {"schema": "problem"}
            assert level in found["schema"].message
            assert "nodes" not in found
            assert faults(await examine(database)) == {"schema": "problem"}
        finally:
            await database.close()


async def test_a_database_that_does_not_answer_is_one_problem(
    database: SqlDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def away() -> Any:
        raise StoreUnavailableError("no route to db.internal")
        yield

    monkeypatch.setattr(database, "connect", away)
    (one,) = (await examine(database)).values()
    assert (one.check, one.level) == ("database", "problem")
    assert "no route to db.internal" in one.message
    assert database.shown in one.message


async def test_a_door_beyond_loopback_needs_an_admin(database: SqlDatabase) -> None:
    public = Settings(http=HttpSettings(host="0.0.0.0"), admin=AdminSettings())
    assert faults(await examine(database, public)) == {"admin_token": "problem"}
    async with database.begin() as connection:
        await create_token(connection, "ada", ["admin"], None)
    assert faults(await examine(database, public)) == {}


async def test_old_snapshots_and_long_waits_of_postgresql_are_named(database: SqlDatabase, dialect: str) -> None:
    if dialect != "postgresql":
        pytest.skip("SQLite has neither")
    async with database.begin() as reader, database.begin() as holder:
        await reader.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        pid = await reader.scalar(text("SELECT pg_backend_pid()"))
        holding = await holder.scalar(text("SELECT pg_backend_pid()"))
        await holder.execute(text("LOCK TABLE nocohost_tokens"))

        async def wait() -> None:
            async with database.begin() as waiter:
                await waiter.execute(text("LOCK TABLE nocohost_tokens"))

        waiting = asyncio.create_task(wait())
        async with asyncio.timeout(10):
            while True:
                async with database.connect() as connection:
                    snapshots, waits = await old_snapshots(connection, 0), await long_waits(connection, 0)
                if waits:
                    break
                await asyncio.sleep(0.01)
        assert pid in [one.pid for one in snapshots]
        (one,) = waits
        assert (one.what, one.blockers, one.application) == ("nocohost_tokens", (holding,), "nocohost")
        told = doctor._sessions("locks", waits, "has waited for a lock")
        assert (told.level, f"held by pid {holding}" in told.message) == ("problem", True)
        await holder.rollback()
        await waiting
    async with database.connect() as connection:
        assert not await is_pooled(connection)


async def test_a_pooler_tells_another_process_than_the_one_that_answers() -> None:
    class Connection:
        async def get_raw_connection(self) -> Any:
            return SimpleNamespace(driver_connection=SimpleNamespace(info=SimpleNamespace(backend_pid=7)))

        async def scalar(self, query: Any) -> int:
            return 4711

    assert await is_pooled(cast("Any", Connection()))


async def test_a_log_of_writes_that_nobody_could_clear_is_told(
    database: SqlDatabase, dialect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if dialect != "sqlite":
        pytest.skip("PostgreSQL keeps its own")
    assert vitals.wal_bytes("no such file") == 0
    for size, level in ((65 * 1024**2, "warning"), (MUCH_WAL_BYTES + 1, "problem")):
        monkeypatch.setattr(doctor, "wal_bytes", lambda file, size=size: size)
        assert faults(await examine(database)) == {"wal": level}


def test_a_folder_that_cannot_be_written_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert examine_folder(Settings(data_dir=tmp_path / "new" / "folder")).level == "ok"
    file = tmp_path / "file"
    file.write_text("")
    found = examine_folder(Settings(data_dir=file / "below"))
    assert (found.level, str(file) in found.message) == ("problem", True)
    monkeypatch.setattr(doctor.os, "access", lambda *arguments: False)
    assert examine_folder(Settings(data_dir=tmp_path)).level == "problem"


def test_a_disk_without_room_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node on it serves nothing: no heartbeat can be written. What had been accepted waits."""
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda where: SimpleNamespace(free=4096))
    found = examine_folder(Settings(data_dir=tmp_path))
    assert (found.level, found.message) == ("problem", f"the disk of {tmp_path} is full: 0.0 MiB are free")
