"""Hearing of pokes: an execution that begins just as nobody else listens any more is heard of all the same."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

from builtin_plugins.workflow.pokes import Pokes


class Signals:
    """A listener that takes a moment to leave."""

    def __init__(self):
        self.sent, self.leaving, self.left = asyncio.Queue(), asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def listen(self, name):
        async def received():
            while True:
                yield await self.sent.get()

        try:
            yield received()
        finally:
            self.leaving.set()
            await self.left.wait()


async def test_an_execution_that_begins_while_the_listener_leaves_is_heard_of():
    signals = Signals()
    pokes = Pokes(SimpleNamespace(signals=signals))
    with pokes.heard("first", 0):
        await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await signals.leaving.wait()
        with pokes.heard("second", 0) as poke:
            signals.left.set()
            await signals.sent.put({"id": "second"})
            await poke.wait()
