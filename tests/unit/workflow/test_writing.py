"""Commits that executions share: one that cannot be written fails alone, and no driver waits for ever."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from builtin_plugins.workflow import writing
from builtin_plugins.workflow.writing import StepWriter
from nocohost import ConfigError, StoreError
from nocohost.api.errors import StoreUnavailableError


class Claim:
    async def verify(self, connection):
        pass


class Database:
    """Takes what it is given, but for the executions that it refuses."""

    def __init__(self, refused=(), error=None):
        self.refused, self.error, self.kept = set(refused), error, []

    @asynccontextmanager
    async def begin(self):
        written = []
        yield written
        if self.error is not None:
            raise self.error
        if self.refused.intersection(written):
            raise StoreError("it does not fit")
        self.kept += written


@pytest.fixture
def open_writer(monkeypatch):
    async def write_steps(connection, written):
        connection += [execution for execution, _, _ in written]

    async def end_plainly(connection, ended):
        pass

    monkeypatch.setattr(writing, "write_steps", write_steps)
    monkeypatch.setattr(writing, "end_plainly", end_plainly)
    return lambda database: StepWriter(SimpleNamespace(database=database))


async def write(writer, *names):
    job = SimpleNamespace(claim=Claim())
    return await asyncio.gather(*(writer.write(job, name, ([], [])) for name in names), return_exceptions=True)


async def test_what_the_database_refuses_fails_alone(open_writer):
    database = Database(refused=["b"])
    told = await write(open_writer(database), "a", "b", "c")
    assert [type(one) for one in told] == [type(None), StoreError, type(None)]
    assert database.kept == ["a", "c"]


@pytest.mark.parametrize("error", [StoreUnavailableError("away"), ConfigError("wrong password")])
async def test_a_database_that_is_away_or_refuses_its_user_is_told_to_all(open_writer, error):
    database = Database(error=error)
    writer = open_writer(database)
    async with asyncio.timeout(30):
        told = await write(writer, *map(str, range(100)))
    assert told == [error] * 100
    database.error = None
    assert await write(writer, "later") == [None]
