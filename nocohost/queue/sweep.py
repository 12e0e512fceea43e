"""The sweep frees what lost nodes held, on every node and for ever; the upkeep removes what time has made old."""

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from nocohost.api.clock import Clock
from nocohost.api.job import JobState
from nocohost.api.log import Log
from nocohost.queue.metrics import QueueMetrics
from nocohost.queue.supervision import Supervision
from nocohost.store.brief import write_briefly
from nocohost.store.database import SqlDatabase
from nocohost.store.glance import glance
from nocohost.store.keys import note_served
from nocohost.store.nodes import mark_lost
from nocohost.store.orphans import (
    RUN_AGAIN,
    Fate,
    Freed,
    Lost,
    Orphan,
    any_to_sweep,
    free_orphans,
)
from nocohost.store.presence import NoPresence, Presence
from nocohost.store.retention import purge

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

BATCH = 500
UPKEEP_SECONDS = 60.0


class Sweep:
    """Frees orphans of the keys this node serves. It goes by what is there, not by what has happened.

    A node never frees its own jobs, and a job that moves while the sweep looks is left alone. ``judge`` says what
    becomes of a lost job, and ``freed`` is told the key of each that is pending again.
    """

    def __init__(
        self,
        database: SqlDatabase,
        node_id: str,
        keys: Collection[str],
        *,
        clock: Clock,
        log: Log,
        metrics: QueueMetrics,
        sweep_seconds: float,
    ) -> None:
        self._database = database
        self._node_id = node_id
        self._keys = sorted(keys)
        self._clock = clock
        self._log = log
        self._metrics = metrics
        self._sweep_seconds = sweep_seconds
        self.presence: Presence = NoPresence()
        self.judge: Callable[[Lost], Fate] = lambda _: RUN_AGAIN
        self.freed: Callable[[str], None] = lambda _: None
        self._supervision = Supervision("sweep", log)

    async def run(self) -> None:
        """Sweep every ``sweep_seconds`` until cancelled."""
        while True:
            pause = await self._supervision.turn(self.turn)
            await self._clock.sleep(self._sweep_seconds if pause is None else pause)

    async def turn(self) -> None:
        """Sweep once: mark lost nodes, then free every orphan there is, page by page."""
        absent = self.presence.absent()
        async with glance(self._database) as connection:
            is_needed = await any_to_sweep(connection, self._node_id, self._keys, absent)
        if is_needed:
            await self._sweep(absent)
        self.presence.bury()

    async def _sweep(self, absent: "ColumnElement[bool]") -> None:
        async with self._database.autocommit() as connection:
            lost = await mark_lost(connection, self._node_id, absent)
        for node in lost:
            self._log.warning("node.lost", lost=node)
        while True:
            freed = await self._free_page()
            for orphan in freed.orphans:
                self._tell(orphan)
            for key in sorted({one.key for one in freed.orphans if one.fate.state is JobState.PENDING}):
                self.freed(key)
            if len(freed.orphans) < BATCH and freed.cancelled < BATCH:
                return

    async def _free_page(self) -> Freed:
        return await write_briefly(
            self._database, lambda one: free_orphans(one, self._node_id, self._keys, BATCH, self.judge)
        )

    def _tell(self, orphan: Orphan) -> None:
        fate, numbers = orphan.fate, self._metrics.of(orphan.key)
        told = {"job": orphan.id, "key": orphan.key, "lost": orphan.node_id}
        if fate.error is None:
            numbers.freed()
            self._log.warning("job.orphan_freed", **told)
            return
        name = "retried" if fate.state is JobState.PENDING else fate.state.value
        numbers.freed(name, charged=fate.charge)
        say = self._log.error if fate.state is JobState.DEAD else self._log.warning
        say(f"job.{name}", error=fate.error, **told)


class Upkeep:
    """Removes expired idempotency keys, history past its retention and rows of nodes long gone, in small batches.

    It also notes, as often, that ``keys`` are served here.
    """

    def __init__(
        self, database: SqlDatabase, keys: Collection[str] = (), *, clock: Clock, log: Log, history_seconds: float
    ) -> None:
        self._database = database
        self._keys = keys
        self._clock = clock
        self._history_seconds = history_seconds
        self._supervision = Supervision("upkeep", log)

    async def run(self) -> None:
        """Clear away every minute until cancelled."""
        while True:
            await self._clock.sleep(UPKEEP_SECONDS)
            pause = await self._supervision.turn(self.turn)
            if pause is not None:
                await self._clock.sleep(pause)

    async def turn(self) -> None:
        """Remove all that is past its time, and note what is served."""
        await purge(self._database, history_seconds=self._history_seconds)
        async with self._database.begin() as connection:
            await note_served(connection, self._keys)
