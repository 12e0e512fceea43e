"""Who watches a task hears of the next look, whatever became of that."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from builtin_plugins.async_task.stream import Watch
from nocohost import ConfigError, StoreError


@pytest.mark.parametrize("error", [StoreError("away"), ConfigError("the password is refused")])
async def test_a_look_that_fails_keeps_nobody_waiting(error):
    warned = []

    @asynccontextmanager
    async def connect():
        raise error
        yield

    @asynccontextmanager
    async def listen(topic):
        yield aiter(Silence())

    app = SimpleNamespace(
        database=SimpleNamespace(connect=connect),
        signals=SimpleNamespace(listen=listen),
        log=SimpleNamespace(warning=lambda event, **fields: warned.append(event)),
    )
    watch, before = Watch(app), object()
    with watch.watching("a task"):
        found = await asyncio.wait_for(watch.look("a task", before), 30)
    assert (found, set(warned)) == (before, {"task.unseen"})
    watch._looker.cancel()
    await asyncio.wait({watch._looker})


class Silence:
    """Signals that never come."""

    def __aiter__(self):
        return self

    async def __anext__(self):
        await asyncio.Event().wait()


async def test_who_begins_to_watch_while_the_listener_of_others_leaves_is_told_too():
    leaving, left = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def connect():
        raise StoreError("away")
        yield

    @asynccontextmanager
    async def listen(topic):
        yield aiter(Silence())
        leaving.set()
        await left.wait()

    app = SimpleNamespace(
        database=SimpleNamespace(connect=connect),
        signals=SimpleNamespace(listen=listen),
        log=SimpleNamespace(warning=lambda event, **fields: None),
    )
    watch, before = Watch(app), object()
    with watch.watching("one"):
        await asyncio.wait_for(watch.look("one", before), 30)
    await asyncio.wait_for(leaving.wait(), 30)
    with watch.watching("another"):
        left.set()
        assert await asyncio.wait_for(watch.look("another", before), 5) is before
    watch._looker.cancel()
    await asyncio.wait({watch._looker})
