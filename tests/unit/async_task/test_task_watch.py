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
