"""That the settings of a node reach the parts that they are about."""

import asyncio

import aiohttp
import pytest

from nocohost.api.errors import SchemaVersionError
from nocohost.host.first_token import create_first_admin
from nocohost.store.database import SqlDatabase
from nocohost.store.tokens import create_token, list_tokens


async def test_external_keys_reach_the_app_and_the_queue(node) -> None:
    async with node("!", NOCOHOST_EXTERNAL_KEYS="far:away") as one:
        assert one.app.serving("far:away") is False
        assert (await one.app.queue.enqueue("far:away", {})).key == "far:away"


async def test_a_node_that_may_not_upgrade_starts_on_a_current_schema_only(node) -> None:
    with pytest.raises(SchemaVersionError, match="is at nothing"):
        async with node("!", NOCOHOST_DATABASE__UPGRADE="no"):
            pass
    async with node("!"):
        pass
    async with node("!", NOCOHOST_DATABASE__UPGRADE="no") as one:
        assert one.url


async def test_the_deadlines_that_are_set_hold_on_the_main_port(node) -> None:
    async with node("!", NOCOHOST_HTTP__HEADER_SECONDS="0.2") as one:
        host, port = one.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /livez HTT")
        async with asyncio.timeout(30):
            assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
        writer.close()


async def test_a_draining_node_is_only_not_ready_for_as_long_as_was_set(node) -> None:
    begun, passed = asyncio.Event(), asyncio.Event()
    async with node("!", NOCOHOST_DRAIN_READY_SECONDS="3", NOCOHOST_DRAIN_SECONDS="5") as one:

        async def sleep(seconds: float) -> None:
            if seconds == 3:
                begun.set()
                await passed.wait()

        one.clock.sleep = sleep
        stopping = asyncio.create_task(one.running.stop())
        async with asyncio.timeout(10):
            await begun.wait()
        async with aiohttp.ClientSession() as http, http.get(f"{one.url}/readyz") as answer:
            assert answer.status == 503
        assert not stopping.done()
        passed.set()
        await stopping


async def test_the_first_admin_is_made_only_where_no_admin_is(database: SqlDatabase) -> None:
    async with database.begin() as connection:
        await create_token(connection, "ada", ["read"], None)
    assert await create_first_admin(database) is not None
    async with database.begin() as connection:
        await create_token(connection, "grace", ["admin"], None)
    assert await create_first_admin(database) is None
    async with database.connect() as connection:
        assert {row.name for row in await list_tokens(connection)} == {"ada", "grace", "admin"}


async def test_no_second_admin_is_made_beside_one_of_another_name(database: SqlDatabase) -> None:
    async with database.begin() as connection:
        await create_token(connection, "grace", ["admin"], None)
    assert await create_first_admin(database) is None
    async with database.connect() as connection:
        assert [row.name for row in await list_tokens(connection)] == ["grace"]
