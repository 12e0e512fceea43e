"""The stand-in for a pooler: it must not keep what a real one would let go."""

import asyncio
import os
import socket
from collections.abc import Callable

import psycopg
import pytest
from probes.transaction_pooler import TransactionPooler

from nocohost.testing.postgres import PostgresServer


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
async def test_a_client_that_dies_in_a_transaction_leaves_no_lock(
    postgresql_server: PostgresServer, migrated_url: Callable[[], str]
) -> None:
    name = migrated_url().rpartition("/")[2]
    pooler = TransactionPooler(f"{postgresql_server.directory}/.s.PGSQL.{postgresql_server.port}", name)
    async with pooler.listening() as port, asyncio.timeout(30):
        url = f"postgresql://postgres@127.0.0.1:{port}/{name}"
        dying = await psycopg.AsyncConnection.connect(url, prepare_threshold=None)
        await dying.execute("LOCK TABLE nocohost_jobs")
        with socket.socket(fileno=os.dup(dying.pgconn.socket)) as line:
            line.shutdown(socket.SHUT_RDWR)
        async with await psycopg.AsyncConnection.connect(url, prepare_threshold=None) as heir:
            await heir.execute("LOCK TABLE nocohost_jobs")
        await dying.close()
