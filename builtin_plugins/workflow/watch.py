"""Watching executions: one look at the database for all who watch the same one on this node."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from builtin_plugins.workflow.sight import Sight
from nocohost import App, ConfigError, StoreError

LOOK_SECONDS = 0.5
"""How long a change may take to be seen."""
Shown = Mapping[str, Any] | None
"""An execution with its steps; None once it is gone."""


class Watch:
    """Looks at executions as long as somebody asks. For the tasks of one event loop."""

    def __init__(self, app: App, load: Callable[[str], Awaitable[Shown]]) -> None:
        self._load = load
        self._sight = Sight(app)
        self._next: dict[str, asyncio.Task[Shown]] = {}

    async def look(self, execution_id: str, before: Mapping[str, Any]) -> Shown:
        """Wait for the next look and return what it finds, or ``before`` while the database is away."""
        coming = self._next.get(execution_id)
        if coming is None:
            coming = asyncio.create_task(self._look(execution_id), name="watch an execution")
            self._next[execution_id] = coming
        try:
            return await asyncio.shield(coming)
        except (StoreError, ConfigError):
            return before

    async def _look(self, execution_id: str) -> Shown:
        try:
            await asyncio.sleep(LOOK_SECONDS)
        finally:
            del self._next[execution_id]  # who comes from now on waits for the next look
        try:
            shown = await self._load(execution_id)
        except (StoreError, ConfigError) as error:  # it is away, or refuses; the next look may find it
            self._sight.lose(error)
            raise
        self._sight.regain()
        return shown
