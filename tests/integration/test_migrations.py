"""Migrations: what they make, who runs them, and what survives a failure, on both databases."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect, text, update

from nocohost.api.errors import ConfigError, PluginContractError, SchemaVersionError
from nocohost.api.log import Log
from nocohost.api.version import VERSION
from nocohost.node.clock import SystemClock
from nocohost.store.database import SqlDatabase, open_database
from nocohost.store.migrate import SchemaState, ensure_schema, schema_status, upgrade
from nocohost.store.revisions import MigrationSet, core_migrations
from nocohost.store.schema import metadata, migrations

REVISION = """
from alembic import op
import sqlalchemy as sa
revision = "{revision}"
down_revision = {below!r}
def upgrade():
    {body}
"""


@pytest.fixture
async def empty(database_url: Callable[[], str], log: Log) -> SqlDatabase:
    """A database with nothing in it."""
    return open_database(database_url(), clock=SystemClock(), log=log)


@pytest.fixture
def make_set(tmp_path: Path) -> Callable[..., MigrationSet]:
    """Write the migrations of a plugin: one body of ``upgrade`` per revision."""

    def make(plugin: str, *bodies: str, version: str = "1.0", runnable_from: str = "1.0") -> MigrationSet:
        folder = tmp_path / f"{plugin}-{version}" / "versions"
        folder.mkdir(parents=True, exist_ok=True)
        for number, body in enumerate(bodies, start=1):
            below = f"{number - 1:04}" if number > 1 else None
            (folder / f"{number:04}.py").write_text(REVISION.format(revision=f"{number:04}", below=below, body=body))
        return MigrationSet(plugin, f"dist-{plugin}", version, folder, runnable_from)

    return make


def creating(table: str) -> str:
    return f"op.create_table({table!r}, sa.Column('id', sa.Integer, primary_key=True))"


async def tables(database: SqlDatabase) -> set[str]:
    async with database.connect() as connection:
        return set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))


async def state_of(database: SqlDatabase, item: MigrationSet) -> SchemaState:
    return (await schema_status(database, [item]))[0].state


async def test_the_migrated_schema_is_the_one_the_code_declares(database: SqlDatabase, empty: SqlDatabase) -> None:
    """Made twice, once by migrations and once from ``store.schema``, and compared as the database tells it."""
    async with empty.begin() as connection:
        await connection.run_sync(metadata.create_all)
        declared = await connection.run_sync(shape)
    async with database.connect() as connection:
        migrated = await connection.run_sync(shape)
    assert set(declared) == set(metadata.tables)
    assert {name: migrated[name] for name in declared} == declared
    assert set(migrated) - set(declared) == {"nocohost_alembic"}
    await empty.close()


async def test_the_hot_table_is_vacuumed_early_on_postgresql(database: SqlDatabase) -> None:
    if database.dialect != "postgresql":
        pytest.skip("SQLite has nothing to vacuum here")
    async with database.connect() as connection:
        found = await connection.run_sync(settings_of, "nocohost_jobs")
        others = await connection.run_sync(settings_of, "nocohost_history")
    assert {"autovacuum_vacuum_scale_factor=0.01", "autovacuum_vacuum_threshold=1000"} <= set(found)
    assert others == []


def settings_of(connection: Connection, table: str) -> list[str]:
    """Return what PostgreSQL is told to do with a table in a way of its own."""
    if connection.dialect.name != "postgresql":
        return []
    found = connection.scalar(
        text("SELECT reloptions FROM pg_class WHERE oid = CAST(:name AS regclass)"), {"name": table}
    )
    return sorted(found or [])


def shape(connection: Connection) -> dict[str, object]:
    """Columns with type, nullability and default, key, indexes and settings of every table, in no order."""
    found = inspect(connection)
    return {
        table: {
            "columns": sorted(
                (one["name"], str(one["type"]), one["nullable"], one["default"]) for one in found.get_columns(table)
            ),
            "settings": settings_of(connection, table),
            "key": found.get_pk_constraint(table)["constrained_columns"],
            "indexes": sorted(
                (one["name"], one["column_names"], bool(one["unique"]), where_of(one))
                for one in found.get_indexes(table)
            ),
        }
        for table in found.get_table_names()
    }


def where_of(index: object) -> str:
    options = index.get("dialect_options", {})  # type: ignore[attr-defined]
    return str(options.get("sqlite_where", options.get("postgresql_where", "")))


async def test_an_empty_database_is_behind_then_current(empty: SqlDatabase) -> None:
    core = core_migrations()
    [before] = await schema_status(empty, [core])
    assert (before.state, before.found, before.head) == (SchemaState.BEHIND, None, core.head())
    assert await upgrade(empty, [core]) == {}
    [after] = await schema_status(empty, [core])
    assert (after.state, after.found, after.migrated_by, after.runnable_from) == (
        SchemaState.CURRENT,
        core.head(),
        VERSION,
        core.runnable_from,
    )
    await empty.close()


async def test_with_upgrading_off_a_start_on_an_old_schema_is_refused_and_changes_nothing(empty: SqlDatabase) -> None:
    with pytest.raises(SchemaVersionError, match="nocohost db upgrade"):
        await ensure_schema(empty, [core_migrations()], upgrade_allowed=False)
    assert await tables(empty) == set()
    assert await ensure_schema(empty, [core_migrations()], upgrade_allowed=True) == {}
    assert await ensure_schema(empty, [core_migrations()], upgrade_allowed=False) == {}
    await empty.close()


async def test_a_failing_plugin_keeps_its_whole_revisions_and_blocks_nobody(
    empty: SqlDatabase, make_set: Callable[..., MigrationSet]
) -> None:
    faulty = make_set("faulty", creating("faulty_one"), f"{creating('faulty_two')}; raise RuntimeError('no good')")
    leaving = make_set("leaving", "raise SystemExit(3)")
    refused = make_set("refused", "op.execute('NO SUCH STATEMENT')")
    healthy = make_set("healthy", creating("healthy_one"))
    sets = [core_migrations(), faulty, leaving, refused, healthy]
    failures = await ensure_schema(empty, sets, upgrade_allowed=True)
    assert set(failures) == {"faulty", "leaving", "refused"}
    assert isinstance(failures["faulty"], PluginContractError)
    assert "no good" in str(failures["faulty"])
    assert str(failures["refused"]).startswith("a migration of refused failed: ")
    assert "nocohost db upgrade" in failures["refused"].hint
    found = await tables(empty)
    assert {"nocohost_jobs", "faulty_one", "healthy_one"} <= found
    assert "faulty_two" not in found
    states = {status.plugin: (status.state, status.found) for status in await schema_status(empty, sets)}
    assert states["faulty"] == (SchemaState.BEHIND, "0001")
    assert states["leaving"] == (SchemaState.BEHIND, None)
    assert states["healthy"] == (SchemaState.CURRENT, "0001")

    mended = make_set("faulty", creating("faulty_one"), creating("faulty_two"), version="1.1")
    assert await ensure_schema(empty, [core_migrations(), mended], upgrade_allowed=True) == {}
    assert "faulty_two" in await tables(empty)
    await empty.close()


async def test_a_failing_core_is_raised(empty: SqlDatabase, make_set: Callable[..., MigrationSet]) -> None:
    with pytest.raises(PluginContractError, match="no good"):
        await ensure_schema(empty, [make_set("nocohost", "raise RuntimeError('no good')")], upgrade_allowed=True)
    await empty.close()


async def test_a_plugin_left_behind_with_upgrading_off_is_named(
    database: SqlDatabase, make_set: Callable[..., MigrationSet]
) -> None:
    failures = await ensure_schema(
        database, [core_migrations(), make_set("shop", creating("shop_one"))], upgrade_allowed=False
    )
    assert isinstance(failures["shop"], SchemaVersionError)
    assert "shop_one" not in await tables(database)


async def test_older_versions_run_on_a_newer_schema_as_long_as_it_lets_them(
    database: SqlDatabase, make_set: Callable[..., MigrationSet]
) -> None:
    first, second = creating("shop_one"), creating("shop_two")
    old, older = make_set("shop", first, version="1.5"), make_set("shop", first, version="1.4")
    new = make_set("shop", first, second, version="2.0", runnable_from="1.5")
    await upgrade(database, [core_migrations(), new])
    assert await state_of(database, new) is SchemaState.CURRENT
    assert await state_of(database, old) is SchemaState.NEWER
    assert await state_of(database, older) is SchemaState.TOO_NEW
    assert await ensure_schema(database, [core_migrations(), old], upgrade_allowed=True) == {}
    failures = await ensure_schema(database, [core_migrations(), older], upgrade_allowed=True)
    assert isinstance(failures["shop"], SchemaVersionError)
    assert "runs from version 1.5 on; this is 1.4" in str(failures["shop"])
    assert "shop_two" in await tables(database)


async def test_a_core_that_is_too_new_refuses_the_start(database: SqlDatabase) -> None:
    async with database.begin() as connection:
        await connection.execute(text("UPDATE nocohost_alembic SET version_num = '9999'"))
        await connection.execute(update(migrations).values(version="9.0", runnable_from="8.0"))
    with pytest.raises(SchemaVersionError, match=r"written by version 9\.0 and runs from version 8\.0"):
        await ensure_schema(database, [core_migrations()], upgrade_allowed=True)


async def test_an_uninstalled_plugin_is_absent_and_keeps_its_tables(
    database: SqlDatabase, make_set: Callable[..., MigrationSet]
) -> None:
    await upgrade(database, [core_migrations(), make_set("shop", creating("shop_one"))])
    [_, gone] = await schema_status(database, [core_migrations()])
    assert (gone.plugin, gone.state, gone.migrated_by) == ("shop", SchemaState.ABSENT, "1.0")
    assert await ensure_schema(database, [core_migrations()], upgrade_allowed=True) == {}
    assert "shop_one" in await tables(database)


async def test_each_revision_notes_who_migrated_with_itself(
    database: SqlDatabase, make_set: Callable[..., MigrationSet]
) -> None:
    """Older versions go by the note; it must not lag behind a revision that is there, whenever the node dies."""
    first = creating("shop_one")
    await upgrade(database, [core_migrations(), make_set("shop", first, version="1.0", runnable_from="1.0")])
    breaking = make_set(
        "shop", first, creating("shop_two"), "raise RuntimeError('no')", version="2.0", runnable_from="2.0"
    )
    await upgrade(database, [core_migrations(), breaking])
    old = make_set("shop", first, version="1.0", runnable_from="1.0")
    assert await state_of(database, old) is SchemaState.TOO_NEW


async def test_revisions_may_join(database: SqlDatabase, make_set: Callable[..., MigrationSet]) -> None:
    branched = make_set("shop", creating("shop_one"), creating("shop_two"))
    for name, below, body in (("0003", "0001", creating("shop_three")), ("0004", ("0002", "0003"), "pass")):
        file = branched.directory / f"{name}.py"
        file.write_text(REVISION.format(revision=name, below=below, body=body))
    assert branched.head() == "0004"
    assert await ensure_schema(database, [core_migrations(), branched], upgrade_allowed=True) == {}
    assert {"shop_one", "shop_two", "shop_three"} <= await tables(database)
    assert await state_of(database, branched) is SchemaState.CURRENT


async def test_the_schema_is_compared_without_alembic(migrated_url: Callable[[], str]) -> None:
    code = """
import asyncio, sys
import structlog
from nocohost.node.clock import SystemClock
from nocohost.store.database import open_database
from nocohost.store.migrate import ensure_schema
from nocohost.store.revisions import core_migrations

async def start():
    database = open_database(sys.argv[1], clock=SystemClock(), log=structlog.get_logger())
    await ensure_schema(database, [core_migrations()], upgrade_allowed=True)
    await database.close()

asyncio.run(start())
assert not [name for name in sys.modules if name.partition(".")[0] in {"alembic", "mako"}]
"""
    await run(code, migrated_url())


UPGRADE = """
import asyncio, sys
from pathlib import Path
import structlog
from nocohost.node.clock import SystemClock
from nocohost.store.database import open_database
from nocohost.store.migrate import ensure_schema
from nocohost.store.revisions import MigrationSet, core_migrations

async def start():
    database = open_database(sys.argv[1], clock=SystemClock(), log=structlog.get_logger())
    await database.wait(20)
    shop = MigrationSet("shop", "shop", "1.0", Path(sys.argv[2]), "1.0")
    failures = await ensure_schema(database, [core_migrations(), shop], upgrade_allowed=True)
    assert not failures, failures
    await database.close()

import os
import alembic.command
for _ in range(int(sys.argv[3]) - 1):  # as many nodes as are asked for, without as many seconds of importing
    if not os.fork():
        break
asyncio.run(start())
while sys.argv[3] != "1":
    try:
        _, status = os.wait()
    except ChildProcessError:
        break
    assert status == 0, status
"""


async def run(code: str, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, *arguments, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    _, error = await process.communicate()
    assert process.returncode == 0, error.decode()


async def test_nodes_that_start_together_migrate_once(
    database_url: Callable[[], str], make_set: Callable[..., MigrationSet], tmp_path: Path, log: Log
) -> None:
    """Each upgrade leaves a line behind, outside of any transaction."""
    told = tmp_path / "told"
    body = f"{creating('shop_one')}; open({str(told)!r}, 'a').write('once\\n')"
    shop, url = make_set("shop", body), database_url()
    await run(UPGRADE, url, str(shop.directory), "8")
    assert told.read_text() == "once\n"
    database = open_database(url, clock=SystemClock(), log=log)
    assert [one.state for one in await schema_status(database, [core_migrations(), shop])] == [SchemaState.CURRENT] * 2
    await database.close()


async def test_a_node_killed_while_it_migrates_leaves_the_next_one_to_finish(
    database_url: Callable[[], str], make_set: Callable[..., MigrationSet], tmp_path: Path, log: Log
) -> None:
    reached, url = tmp_path / "reached", database_url()
    waiting = f"import pathlib, time; p = pathlib.Path({str(reached)!r}); first = not p.exists(); p.touch()"
    slow = make_set("shop", creating("shop_one"), f"{waiting}; {creating('shop_two')}; time.sleep(60 if first else 0)")
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", UPGRADE, url, str(slow.directory), "1")
    deadline = time.monotonic() + 30
    while not reached.exists():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    database = open_database(url, clock=SystemClock(), log=log)
    assert await state_of(database, slow) is SchemaState.BEHIND
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    async with asyncio.timeout(20):
        assert await ensure_schema(database, [core_migrations(), slow], upgrade_allowed=True) == {}
    assert {"shop_one", "shop_two"} <= await tables(database)
    await database.close()


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_a_lock_file_that_cannot_be_made_is_told(empty: SqlDatabase) -> None:
    assert empty.file is not None
    Path(f"{empty.file}.migrating").mkdir()
    with pytest.raises(Exception, match="migrating cannot be written") as raised:
        await ensure_schema(empty, [core_migrations()], upgrade_allowed=True)
    assert not isinstance(raised.value, ConfigError)
    await empty.close()
