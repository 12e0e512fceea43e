"""The connections of the hot statements on PostgreSQL: prepared where the session is theirs, and only there."""

from collections.abc import AsyncIterator, Callable

import pytest
from integration.queue_bench import KEY, join_node, make_queue
from probes.transaction_pooler import TransactionPooler
from sqlalchemy import text

from nocohost.api.log import Log
from nocohost.node.clock import SystemClock
from nocohost.node.identity import new_claim_id
from nocohost.store.database import SqlDatabase, open_database
from nocohost.store.hot.driver_connection import DriverConnection
from nocohost.store.hot.values import Want
from nocohost.testing.postgres import PostgresServer

pytestmark = pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)

PREPARED = "SELECT count(*) FROM pg_prepared_statements WHERE statement ~ 'taken AS [(]'"
READ = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'nocohost_jobs'"
GROW = """
INSERT INTO nocohost_jobs (id, key, state, payload, run_at, enqueued_at)
SELECT gen_random_uuid(), 'other:key', 'pending', '{}', now() - interval '1 hour', now() FROM generate_series(1, 5000)
"""


@pytest.fixture
async def behind(
    postgresql_server: PostgresServer, migrated_url: Callable[[], str], log: Log
) -> AsyncIterator[SqlDatabase]:
    """A database by way of a pooler in transaction mode."""
    name = migrated_url().rpartition("/")[2]
    pooler = TransactionPooler(f"{postgresql_server.directory}/.s.PGSQL.{postgresql_server.port}", name)
    async with pooler.listening() as port:
        database = open_database(f"postgresql://postgres@127.0.0.1:{port}/{name}", clock=SystemClock(), log=log)
        yield database
        await database.close()


async def claim_one(database: SqlDatabase, node: str) -> int:
    await make_queue(database).enqueue(KEY, {})
    return len(await database.hot.claim(node, new_claim_id(), [Want(KEY, 5)]))


def claims(database: SqlDatabase) -> DriverConnection:
    connection = database.hot._claims  # type: ignore[attr-defined]
    assert isinstance(connection, DriverConnection)
    return connection


async def test_a_claim_is_prepared_on_a_session_of_its_own(database: SqlDatabase) -> None:
    node = await join_node(database)
    assert await claim_one(database, node) == 1
    assert await claim_one(database, node) == 1
    assert await claims(database).fetch(PREPARED, ()) == [(1,)]


async def test_nothing_is_prepared_behind_a_pooler(behind: SqlDatabase) -> None:
    node = await join_node(behind)
    assert [await claim_one(behind, node) for _ in range(10)] == [1] * 10
    assert await claims(behind).fetch(PREPARED, ()) == [(0,)]
    async with behind.connect() as connection:
        assert (await connection.execute(text("SHOW enable_seqscan"))).scalar_one() == "on"


async def test_a_plan_made_for_an_empty_table_reads_a_large_one_by_its_index(database: SqlDatabase) -> None:
    node = await join_node(database)
    async with database.begin() as connection:
        await connection.execute(text("ANALYZE nocohost_jobs"))
    assert await claim_one(database, node) == 1
    async with database.begin() as connection:
        await connection.execute(text(GROW))
    await make_queue(database).enqueue(KEY, {})
    await claims(database).fetch("SELECT pg_stat_force_next_flush()", ())
    before = await claims(database).fetch(READ, ())
    assert len(await database.hot.claim(node, new_claim_id(), [Want(KEY, 5)])) == 1
    await claims(database).fetch("SELECT pg_stat_force_next_flush()", ())
    assert await claims(database).fetch(READ, ()) == before


async def test_a_plan_that_a_migration_has_overtaken_is_made_anew(database: SqlDatabase) -> None:
    node = await join_node(database)
    assert await claim_one(database, node) == 1
    async with database.begin() as connection:
        await connection.execute(text("ALTER TABLE nocohost_jobs ALTER COLUMN priority TYPE bigint"))
    assert await claim_one(database, node) == 1


async def test_no_other_connection_is_planned_like_these(database: SqlDatabase) -> None:
    node = await join_node(database)
    await claim_one(database, node)
    await database.hot.close()
    for _ in range(5):
        async with database.begin() as connection:
            assert (await connection.execute(text("SHOW enable_seqscan"))).scalar_one() == "on"
