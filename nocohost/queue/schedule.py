"""The loop that fires schedules, on every node for the keys it serves; any number of nodes may race for a tick."""

import asyncio
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from nocohost.api.clock import Clock
from nocohost.api.log import Log
from nocohost.api.service import JobType
from nocohost.queue.coded_schedules import CodedSchedules
from nocohost.queue.supervision import Supervision
from nocohost.store.brief import write_briefly
from nocohost.store.database import SqlDatabase
from nocohost.store.glance import glance
from nocohost.store.ticks import FiredPage, fire_due, seconds_to_tick
from nocohost.store.types import instant_text

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

LOOK_SECONDS = 10.0
"""How long a schedule that another node made goes unnoticed; also the pace of an idle loop."""
BUSY_SECONDS = 0.25
"""How long to wait while another node is firing what has come."""
LEAST_SECONDS = 0.005
IDLE_MILLISECONDS = (2000, 20_000)
"""How long firing may keep the database waiting, at first and then: a frozen node lets go of its schedules long before
their ticks are too late, a slow one gets there."""
PAGE_SCHEDULES = 100
PAGE_TICKS = 200


class ScheduleLoop:
    """Sleeps until the next tick is due by the database's clock, and makes its job; level-triggered like the sweep."""

    def __init__(
        self,
        database: SqlDatabase,
        keys: Collection[str],
        coded: CodedSchedules,
        job_type: Callable[[str], JobType | None],
        *,
        clock: Clock,
        log: Log,
        on_fired: Callable[[str], None],
    ) -> None:
        self._database = database
        self._keys = sorted(keys)
        self._coded = coded
        self._job_type = job_type
        self._clock = clock
        self._log = log
        self._on_fired = on_fired
        self._supervision = Supervision("schedules", log)
        self._woken = asyncio.Event()
        self._turning = asyncio.Lock()
        self._compare_at = 0.0
        self._unreadable: set[str] = set()

    async def begin(self) -> None:
        """Bring the schedules in the code of this node to their rows, before it serves."""
        if self._keys:
            await self._compare()

    def wake(self, name: str | None = None) -> None:
        """Look now: the schedule ``name`` may have changed, or any; from the event loop's thread only."""
        self._woken.set()

    async def run(self) -> None:
        """Fire until cancelled."""
        pause = LOOK_SECONDS
        while True:

            async def turn() -> None:
                nonlocal pause
                pause = await self.turn()

            failed = await self._supervision.turn(turn)
            await self._wait(pause if failed is None else failed)

    async def turn(self) -> float:
        """Fire all that has come, page by page; return the seconds until the next look."""
        async with self._turning:
            if self._clock.monotonic() >= self._compare_at:
                await self._compare()
            while True:
                seconds = await self.seconds_to_tick()
                if seconds is None or seconds > 0:
                    return max(min(LOOK_SECONDS if seconds is None else seconds, LOOK_SECONDS), LEAST_SECONDS)
                if not await self._fire_page():
                    return BUSY_SECONDS

    async def seconds_to_tick(self) -> float | None:
        """Return how long the next tick is away, 0 or less when one has come; None when no schedule waits."""
        if not self._keys:
            return None
        async with glance(self._database) as connection:
            return await seconds_to_tick(connection, self._keys, self._unreadable)

    async def _compare(self) -> None:
        self._unreadable.clear()
        self._compare_at = self._clock.monotonic() + await self._coded.compare()

    async def _fire_page(self) -> bool:
        done = await write_briefly(self._database, self._fire, IDLE_MILLISECONDS)
        for name, reason in done.unreadable:
            self._unreadable.add(name)
            self._log.error("schedule.unreadable", schedule=name, reason=reason)
        for one in done.fired:
            self._on_fired(one.key)
            tick_at = instant_text(one.tick_at)
            self._log.info("schedule.fired", schedule=one.schedule, tick_at=tick_at, key=one.key, job=one.job_id)
        return bool(done.moved or done.unreadable)

    async def _fire(self, connection: "AsyncConnection") -> FiredPage:
        return await fire_due(
            connection, self._keys, self._priority, self._unreadable, page=PAGE_SCHEDULES, limit=PAGE_TICKS
        )

    def _priority(self, key: str) -> int:
        job_type = self._job_type(key)
        return 0 if job_type is None else job_type.priority

    async def _wait(self, seconds: float) -> None:
        sleeper = asyncio.create_task(self._clock.sleep(seconds))
        waker = asyncio.create_task(self._woken.wait())
        try:
            await asyncio.wait({sleeper, waker}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeper.cancel()
            waker.cancel()
        self._woken.clear()
