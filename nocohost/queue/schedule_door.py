"""``app.schedules``: the schedules kept in the database, set and removed by whoever has the app."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nocohost.api.app import ScheduleView
from nocohost.api.errors import PayloadError, PluginContractError
from nocohost.api.schedule import Schedule
from nocohost.store.commits import on_commit
from nocohost.store.database import SqlDatabase
from nocohost.store.schedules import list_schedules, put_schedule, remove_schedule
from nocohost.store.ticks import find_tick

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

PAGE = 1000


def _nobody(name: str) -> None:
    """Tell nobody."""


class ScheduleDoor:
    """Implements ``nocohost.api.app.Schedules``; ``on_changed(name)`` is the hint that its next tick may have moved.

    ``check`` returns a payload as it is stored under its key, or raises as ``enqueue`` does.
    """

    def __init__(self, database: SqlDatabase, check: Callable[[str, Any], Any]) -> None:
        self._database = database
        self._check = check
        self.on_changed: Callable[[str], None] = _nobody

    async def set(self, schedule: Schedule, *, connection: "AsyncConnection | None" = None) -> None:
        """Make the schedule, or change the one of this name; see ``nocohost.api.app.Schedules.set``."""
        payload = self._check(schedule.key, dict(schedule.payload))
        if connection is None:
            async with self._database.begin() as own:
                await _put(own, schedule, payload)
            self.on_changed(schedule.name)
        else:
            await _put(connection, schedule, payload)
            on_commit(connection, lambda: self.on_changed(schedule.name))

    async def remove(self, name: str, *, connection: "AsyncConnection | None" = None) -> bool:
        """Remove the schedule of this name; see ``nocohost.api.app.Schedules.remove``."""
        if connection is not None:
            return await remove_schedule(connection, name)
        async with self._database.begin() as own:
            return await remove_schedule(own, name)

    async def tick_of(self, name: str, job_id: str) -> datetime | None:
        """Return the tick of a job; see ``nocohost.api.app.Schedules.tick_of``."""
        async with self._database.connect() as connection:
            return await find_tick(connection, name, job_id)

    async def list(self) -> Sequence[ScheduleView]:
        """Return every schedule, by name."""
        found: list[ScheduleView] = []
        after: str | None = None
        async with self._database.connect() as connection:
            while True:
                page = await list_schedules(connection, limit=PAGE, after=after)
                found.extend(page.items)
                if page.next is None:
                    return found
                after = page.next


async def _put(connection: "AsyncConnection", schedule: Schedule, payload: Any) -> None:
    try:
        await put_schedule(connection, schedule, payload, owner=None)
    except PluginContractError as error:
        raise PayloadError(error.message, hint=error.hint) from error
