"""A database that refuses its user for a while, as when a password changes, ends none of the loops that look at it."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from builtin_plugins.workflow import ends, outside, pokes, watch
from nocohost import ConfigError

LOOKS = 3


class RefusingDatabase:
    """Refuses every connection, and tells of each."""

    def __init__(self):
        self.asked = asyncio.Queue()

    @asynccontextmanager
    async def connect(self):
        self.asked.put_nowait(None)
        raise ConfigError("the database refuses: user or password is refused")
        yield


class SilentSignals:
    """Never sends any."""

    @asynccontextmanager
    async def listen(self, topic):
        async def received():
            await asyncio.Event().wait()
            yield {}

        yield received()


@pytest.fixture
def app(monkeypatch):
    for module in (ends, outside, pokes, watch):
        monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
    told = []
    log = SimpleNamespace(told=told, warning=lambda event, **fields: told.append(event))
    return SimpleNamespace(database=RefusingDatabase(), signals=SilentSignals(), log=log)


async def looked_again(app):
    async with asyncio.timeout(30):
        for _ in range(LOOKS):
            await app.database.asked.get()
    assert app.log.told == ["workflow.unseen"]


async def test_pokes_are_looked_for_again(app):
    with pokes.Pokes(app).heard("a", 0):
        await looked_again(app)


async def test_ends_are_looked_for_again(app):
    waiting = asyncio.create_task(ends.Ends(app).wait("a", 60))
    await looked_again(app)
    waiting.cancel()


async def test_jobs_and_tasks_are_looked_for_again(app):
    looking = asyncio.create_task(outside.Outside(app).look_on())
    await looked_again(app)
    looking.cancel()


async def test_who_watches_an_execution_sees_it_as_it_was(app):
    async def load(execution_id):
        async with app.database.connect():
            raise AssertionError("it refuses")

    one, before = watch.Watch(app, load), {"state": "running"}
    for _ in range(LOOKS):
        assert await one.look("a", before) is before
    await looked_again(app)
