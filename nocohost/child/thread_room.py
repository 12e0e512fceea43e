"""The room of ``isolation="thread"``: plain handlers, each in a thread of its service's own."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from nocohost.api.app import App
from nocohost.api.clock import Clock
from nocohost.api.errors import HandlerRaisedError
from nocohost.api.job import Job
from nocohost.api.log import Log
from nocohost.api.room import WorkOrder
from nocohost.api.service import Service
from nocohost.child.call import Raised, call_plain
from nocohost.child.crew import Crew
from nocohost.child.hop import Hop
from nocohost.child.twins import TwinApp, blocking_job
from nocohost.store.blocking import BlockingDatabase
from nocohost.store.database import SqlDatabase

ABANDON_SECONDS = 10.0
"""How long a cancelled handler has to notice. A thread cannot be stopped: afterwards it is left behind."""


class ThreadRoom:
    """Implements ``nocohost.api.room.Room`` with threads; see ``nocohost.child.crew`` for how many."""

    def __init__(self, app: App, database: SqlDatabase, *, clock: Clock, log: Log) -> None:
        self._app = app
        self._database = database
        self._clock = clock
        self._log = log
        self._crews: dict[str, Crew] = {}
        self._blocking: BlockingDatabase | None = None

    @property
    def places(self) -> int:
        """See ``nocohost.api.room.Room.places``: a thread keeps nobody safe from a job."""
        return 0

    async def run(self, service: Service, job: Job, order: WorkOrder) -> Any:
        """Run the handler in a thread and return what it returned; see ``nocohost.api.room.Room.run``.

        A cancelled handler is told by ``job.cancel_requested``, and by an error from whatever it calls next. One that
        does not notice for ``ABANDON_SECONDS`` is left behind: it can write nothing through its job any more.
        """
        crew = self._crews.setdefault(service.key, Crew(service.key, service.concurrency))
        hop = Hop(asyncio.get_running_loop())
        outcome = crew.start(self._call(service, job, hop))
        try:
            result = await asyncio.shield(outcome)
        except asyncio.CancelledError:
            hop.cancel()
            await self._within_grace(outcome)
            if not outcome.done():
                self._abandon(crew, outcome, order)
                raise
            result = outcome.result()
        if isinstance(result, Raised):
            raise HandlerRaisedError(result.error, trace=result.trace)
        return result

    def close(self) -> None:
        """Let the threads end and close their connections; a handler that still runs is left behind."""
        for crew in self._crews.values():
            crew.close()
        if self._blocking is not None:
            self._blocking.close()

    def _call(self, service: Service, job: Job, hop: Hop) -> Callable[[], Any]:
        if self._blocking is None:
            self._blocking = BlockingDatabase(self._database, asyncio.get_running_loop())
        blocking = self._blocking
        return partial(call_plain, service, blocking_job(job, blocking, hop), TwinApp(self._app, blocking, hop))

    async def _within_grace(self, outcome: "asyncio.Future[Any]") -> None:
        timer = asyncio.create_task(self._clock.sleep(ABANDON_SECONDS))
        try:
            await asyncio.wait({outcome, timer}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:  # asked again: no more waiting
            pass
        finally:
            timer.cancel()

    def _abandon(self, crew: Crew, outcome: "asyncio.Future[Any]", order: WorkOrder) -> None:
        crew.give_up(outcome)
        self._log.error(
            "thread.abandoned",
            key=order.key,
            job=order.id,
            hint='it ignores that it was cancelled; isolation="process" can stop such a handler',
        )
        if crew.is_lost:
            self._log.error(
                "thread.exhausted", key=order.key, hint="every thread of this key hangs; start the node anew"
            )
