"""Poolers in transaction mode, for tests: the stand-in that is always there, and PgBouncer where there is one."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from probes.pgbouncer import MISSING, find_pgbouncer, pgbouncer
from probes.transaction_pooler import TransactionPooler

from nocohost.testing.postgres import PostgresServer

POOLERS = ("stand-in", "pgbouncer")


@asynccontextmanager
async def behind(pooler: str, server: PostgresServer, url: str) -> AsyncIterator[str]:
    """Give the URL of the database at ``url`` by way of a pooler; skips where there is no such pooler."""
    name = url.rpartition("/")[2]
    if pooler == "pgbouncer":
        program = find_pgbouncer(os.environ)
        if program is None:
            pytest.skip(MISSING)
        standing = pgbouncer(program, server)
    else:
        standing = TransactionPooler(f"{server.directory}/.s.PGSQL.{server.port}", name).listening()
    async with standing as port:
        yield f"postgresql://postgres@127.0.0.1:{port}/{name}"
