"""Watching tasks from any node: one look at the database for all watchers of this node, when a signal says so.

Signals may be lost, so the database is asked every second all the same while anybody watches.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from builtin_plugins.async_task.records import find_tasks
from builtin_plugins.async_task.standing import Standing, stand
from builtin_plugins.async_task.task import CHANGED
from nocohost import App, NocohostError

LOOK_SECONDS = 1.0
"""How long a change may take to be seen that no signal told of."""
REST_SECONDS = 0.1
"""Between two looks, however many signals come."""


class Watch:
    """Looks at the tasks that somebody watches, as long as somebody does. For the tasks of one event loop."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._watched: Counter[str] = Counter()
        self._seen: Mapping[str, Standing | None] = {}
        self._looked = asyncio.Condition()
        self._looker: asyncio.Task[None] | None = None

    @contextmanager
    def watching(self, task_id: str) -> Iterator[None]:
        """Have the task looked at within the block."""
        self._watched[task_id] += 1
        if self._looker is None or self._looker.done():
            self._looker = asyncio.create_task(self._look_on(), name="watch tasks")
        try:
            yield
        finally:
            self._watched[task_id] -= 1
            if not self._watched[task_id]:
                del self._watched[task_id]

    async def look(self, task_id: str, before: Standing) -> Standing | None:
        """Wait for the next look and return where the task stands; None once it is gone, ``before`` if unknown."""
        async with self._looked:
            await self._looked.wait()
        return self._seen.get(task_id, before)

    async def _look_on(self) -> None:
        while self._watched:  # somebody may begin to watch while the listener of those before leaves
            async with self._app.signals.listen(CHANGED) as signals:
                await self._hear(signals)

    async def _hear(self, signals: AsyncIterator[Mapping[str, Any]]) -> None:
        told = asyncio.ensure_future(anext(signals))
        try:
            while self._watched:
                await self._look()
                await asyncio.sleep(REST_SECONDS)
                await asyncio.wait({told}, timeout=LOOK_SECONDS - REST_SECONDS)
                if told.done():
                    told = asyncio.ensure_future(anext(signals))
        finally:
            told.cancel()

    async def _look(self) -> None:
        ids = list(self._watched)
        try:
            async with self._app.database.connect() as connection:
                rows = await find_tasks(connection, ids)
            found = {one.row.id: one for one in await stand(self._app, list(rows.values()))}
            self._seen = {one: found.get(one) for one in ids}
        except NocohostError as error:  # it is away, or refuses for a while; whoever waits must not wait for ever
            self._app.log.warning("task.unseen", reason=str(error))
            self._seen = {}
        async with self._looked:
            self._looked.notify_all()
