"""The room of ``isolation="process"`` and of attempts after a crash: handlers in children, one at a time in each."""

import asyncio
import os
import signal
from typing import Any

from nocohost.api.errors import ChildCrashedError
from nocohost.api.job import Job, Snooze
from nocohost.api.log import Log
from nocohost.api.room import WorkOrder
from nocohost.api.service import Service
from nocohost.child.call import is_async
from nocohost.child.idle import IdleChildren
from nocohost.child.messages import Message, order_fields, read_outcome
from nocohost.child.process import Child
from nocohost.child.spares import Spares

ASK_SECONDS = 2.0
"""How long a cancelled handler has to end because it was asked."""
TERM_SECONDS = 5.0
"""How long its process then has to end because of SIGTERM, before SIGKILL."""
LEAVE_SECONDS = 5.0
"""How long a child that has answered may take to leave its lifespans."""
CLOSE_SECONDS = 1.0
"""How much of that it gets when the node stops."""
FEWEST_PLACES = 2
UNSTARTED_SECONDS = 5.0
"""After how long a job comes back for which no process could be started."""


class ChildRoom:
    """Implements ``nocohost.api.room.Room`` with processes.

    Handlers that are here because of ``isolation="process"`` are as many as their service allows, and their child is
    thrown away. For those that are here for their job's sake there is one place for each CPU: the many jobs of a lost
    node would else become as many processes at once, and the node that saves them would be lost in turn. Whoever sends
    them counts. They take turns in few children: a start for each would cost hundreds of times what most of them need,
    and whom a child died of is known, for it is the one that ran. A job that a child has died of already gets a child
    that has run no other, so that no other can be to blame.
    """

    def __init__(self, spares: Spares, *, log: Log) -> None:
        self.spares = spares
        self._log = log
        self._places = max(FEWEST_PLACES, os.cpu_count() or 1)
        self._busy: set[Child] = set()
        self._leaving: dict[Child, asyncio.Task[None]] = {}
        self.idle = IdleChildren(self._throw_away, 2 * self._places)

    @property
    def busy(self) -> list[Child]:
        """Return the children that have a work order."""
        return list(self._busy)

    @property
    def places(self) -> int:
        """See ``nocohost.api.room.Room.places``."""
        return self._places

    async def run(self, service: Service, job: Job, order: WorkOrder) -> Any:
        """Run the handler in a child and return what it returned; see ``nocohost.api.room.Room.run``.

        A cancelled handler is asked, gets SIGTERM after ``ASK_SECONDS``, and SIGKILL ``TERM_SECONDS`` later. Where the
        machine has no room for one more process, the job comes back later, and nothing is charged.
        """
        try:
            child = self._take(service, order)
        except OSError as error:
            return self._later(order, error)
        if child.ready.is_set():
            try:
                return await self._run_in(child, service, job, order)
            except ChildCrashedError:
                if child.started.is_set():
                    raise
            # It died of something else while it waited: the job is not to blame, and had not begun.
            try:
                child = self.spares.start(service.key)
            except OSError as error:
                return self._later(order, error)
        return await self._run_in(child, service, job, order)

    def _later(self, order: WorkOrder, error: OSError) -> Snooze:
        """Say that no process could be started, for want of file handles, processes or memory."""
        self._log.error("child.unstarted", key=order.key, job=order.id, reason=str(error))
        return Snooze(UNSTARTED_SECONDS)

    def kill(self) -> None:
        """Kill every child that has a work order, at once."""
        for child in self._busy:
            child.signal(signal.SIGKILL)

    async def close(self) -> None:
        """End every child, spare or not."""
        self.kill()
        self.idle.close()
        await self.spares.close()
        if self._leaving:
            await asyncio.wait(self._leaving.values(), timeout=CLOSE_SECONDS)
        for child in self._leaving:
            child.signal(signal.SIGKILL)
        if self._leaving:
            await asyncio.wait(self._leaving.values(), timeout=CLOSE_SECONDS)

    async def _run_in(self, child: Child, service: Service, job: Job, order: WorkOrder) -> Any:
        takes_turns, stays = self._takes_turns(service, order), False
        self._busy.add(child)
        child.log = self._log.bind(child=child.pid, key=order.key, job=order.id)
        child.order(order.key, is_last=not takes_turns, order=order_fields(order), memory_mib=service.memory_mib)
        answer = asyncio.create_task(child.answer(), name=f"answer of child {child.pid}")
        try:
            said = await self._attend(child, job, answer)
            stays = takes_turns and said.kind != "refused" and not child.is_cancelled
            return read_outcome(said)
        except ChildCrashedError as error:
            raise _told(error, service.memory_mib) from None
        finally:
            answer.cancel()
            self._busy.discard(child)
            if stays and child.is_alive:
                child.log = self._log.bind(child=child.pid)
                self.idle.keep(child, is_async=is_async(service))
            else:
                self._throw_away(child)

    def _take(self, service: Service, order: WorkOrder) -> Child:
        takes_turns = self._takes_turns(service, order)
        child = self.idle.take(service.key, is_async=is_async(service)) if takes_turns else None
        return self.spares.take(service.key) if child is None else child

    def _takes_turns(self, service: Service, order: WorkOrder) -> bool:
        """Tell whether the job may run in a child that has run others, and will."""
        return service.isolation != "process" and not order.crashes

    def _throw_away(self, child: Child) -> None:
        leaving = asyncio.create_task(child.end(LEAVE_SECONDS), name=f"end of child {child.pid}")
        self._leaving[child] = leaving
        leaving.add_done_callback(lambda _: self._leaving.pop(child))

    async def _attend(self, child: Child, job: Job, answer: "asyncio.Task[Message]") -> Message:
        """Wait for the answer; once cancelled, make the handler end, and raise ``CancelledError`` if it gives none."""
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            await self._stop(child, job, answer)
            if answer.exception() is not None:
                raise
            return answer.result()

    async def _stop(self, child: Child, job: Job, answer: "asyncio.Task[Message]") -> None:
        try:
            child.cancel(job.cancel_requested)
            await asyncio.wait({answer}, timeout=ASK_SECONDS)
            if not answer.done():
                child.signal(signal.SIGTERM)
                await asyncio.wait({answer}, timeout=TERM_SECONDS)
        finally:  # asked a second time: at once
            if not answer.done():
                child.signal(signal.SIGKILL)
        await asyncio.wait({answer})


def _told(error: ChildCrashedError, memory_mib: int | None) -> ChildCrashedError:
    """Return the error with all that a person wants to know of the crash: the limit of memory, the last lines."""
    limit = "" if memory_mib is None else f" (memory_mib is {memory_mib})"
    tail = f"; its last lines:\n{error.stderr_tail}" if error.stderr_tail else ""
    return ChildCrashedError(
        f"{error.message}{limit}{tail}",
        exit_code=error.exit_code,
        signal=error.signal,
        stderr_tail=error.stderr_tail,
    )
