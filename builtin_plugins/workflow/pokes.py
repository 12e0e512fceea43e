"""Hearing, while executions run steps here, that something has happened to them: a cancel, a signal, a child's end.

Signals may be lost, so the database is asked every second all the same, once for all executions of this node.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import select

from builtin_plugins.workflow.sight import Sight
from builtin_plugins.workflow.starting import POKE
from builtin_plugins.workflow.tables import executions
from nocohost import App, ConfigError, StoreError

LOOK_SECONDS = 1.0
"""How long it may take until something is noticed that no signal told of."""


class Pokes:
    """Sets the event of an execution when it has something to look at. For the executions of one event loop."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._events: dict[str, asyncio.Event] = {}
        self._seen: dict[str, int] = {}
        self._looker: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._sight = Sight(app)

    @contextmanager
    def heard(self, execution_id: str, seen: int) -> Iterator[asyncio.Event]:
        """Have the execution listened for within the block; ``seen`` are the pokes that it knows of."""
        event = self._events[execution_id] = asyncio.Event()
        self._seen[execution_id] = seen
        if self._looker is None or self._looker.done():
            self._looker = asyncio.create_task(self._look_on(), name="hear pokes of workflows")
        try:
            yield event
        finally:
            del self._events[execution_id], self._seen[execution_id]
            if not self._events:
                self._changed.set()

    async def _look_on(self) -> None:
        while self._events:  # an execution may begin while the listener of those before it leaves
            async with self._app.signals.listen(POKE) as signals:
                await self._hear(signals)

    async def _hear(self, signals: AsyncIterator[Mapping[str, Any]]) -> None:
        told = asyncio.ensure_future(anext(signals))
        try:
            while self._events:
                self._changed.clear()
                changed = asyncio.ensure_future(self._changed.wait())
                await asyncio.wait({told, changed}, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                if told.done():
                    event = self._events.get(str(told.result().get("id")))
                    if event is not None:
                        event.set()
                    told = asyncio.ensure_future(anext(signals))
                elif self._events:
                    await self._look()
        finally:
            told.cancel()

    async def _look(self) -> None:
        query = select(executions.c.id, executions.c.pokes).where(executions.c.id.in_(list(self._events)))
        try:
            async with self._app.database.connect() as connection:
                found = (await connection.execute(query)).all()
        except (StoreError, ConfigError) as error:  # it is away, or refuses; the next look may find it
            self._sight.lose(error)
            return
        self._sight.regain()
        for row in found:
            if row.id in self._events and self._seen.get(row.id) != row.pokes:
                self._seen[row.id] = row.pokes
                self._events[row.id].set()
