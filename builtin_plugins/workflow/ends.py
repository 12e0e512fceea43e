"""Waiting for the ends of executions: one look for all who wait on a node, however many they are.

Signals may be lost, so the database is asked twice a second all the same.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from itertools import islice
from typing import Any

from sqlalchemy import select

from builtin_plugins.workflow.records import OPEN
from builtin_plugins.workflow.sight import Sight
from builtin_plugins.workflow.starting import ENDED
from builtin_plugins.workflow.tables import executions
from nocohost import App, ConfigError, StoreError

LOOK_SECONDS = 0.5
"""How long it may take until an end is noticed that no signal told of."""
BATCH = 500
MOST = 2000
"""So many may wait on one node; who comes then is told at once where to look later."""


class Ends:
    """Tells who waits for the end of an execution. For those of one event loop."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._waiting: dict[str, list[asyncio.Event]] = {}
        self._count = 0
        self._looker: asyncio.Task[None] | None = None
        self._left = asyncio.Event()
        self._sight = Sight(app)

    async def wait(self, execution_id: str, seconds: float) -> None:
        """Return once an execution has ended, or is gone; at most after ``seconds``."""
        if self._count >= MOST:
            return
        event = asyncio.Event()
        self._waiting.setdefault(execution_id, []).append(event)
        self._count += 1
        if self._looker is None or self._looker.done():
            self._looker = asyncio.create_task(self._look_on(), name="wait for ends of executions")
        try:
            await asyncio.wait_for(event.wait(), seconds)
        except TimeoutError:
            pass
        finally:
            self._count -= 1
            self._waiting[execution_id].remove(event)
            if not self._waiting[execution_id]:
                del self._waiting[execution_id]
            if not self._waiting:
                self._left.set()

    async def _look_on(self) -> None:
        while self._waiting:  # somebody may come while the listener of those before leaves
            async with self._app.signals.listen(ENDED) as signals:
                await self._hear(signals)

    async def _hear(self, signals: AsyncIterator[Mapping[str, Any]]) -> None:
        time = asyncio.get_running_loop().time
        told = asyncio.ensure_future(anext(signals))
        look_at = time() + LOOK_SECONDS
        try:
            while self._waiting:
                self._left.clear()
                left = asyncio.ensure_future(self._left.wait())
                await asyncio.wait({told, left}, timeout=look_at - time(), return_when=asyncio.FIRST_COMPLETED)
                left.cancel()
                if told.done():
                    self._end(str(told.result().get("id")))
                    told = asyncio.ensure_future(anext(signals))
                if time() >= look_at:
                    await self._look()
                    look_at = time() + LOOK_SECONDS
        finally:
            told.cancel()

    async def _look(self) -> None:
        ids = iter(list(self._waiting))
        try:
            while batch := list(islice(ids, BATCH)):
                query = select(executions.c.id).where(executions.c.id.in_(batch), executions.c.state.in_(OPEN))
                async with self._app.database.connect() as connection:
                    still = set((await connection.execute(query)).scalars())
                for execution_id in batch:
                    if execution_id not in still:
                        self._end(execution_id)
        except (StoreError, ConfigError) as error:  # it is away, or refuses; the next look may find it
            self._sight.lose(error)
        else:
            self._sight.regain()

    def _end(self, execution_id: str) -> None:
        for event in self._waiting.get(execution_id, ()):
            event.set()
