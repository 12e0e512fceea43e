"""Locks over the whole cluster: leases in the database, with a number that tells a late holder from the present one."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from types import TracebackType
from typing import Any

from nocohost.api.app import Lock
from nocohost.api.clock import Clock
from nocohost.api.errors import ConfigError, LockTimeoutError, NestedWriteError, QueueError, StoreError
from nocohost.api.log import Log
from nocohost.node.identity import new_claim_id
from nocohost.store.database import SqlDatabase
from nocohost.store.glance import glance
from nocohost.store.hints import LOCK, Hints
from nocohost.store.lock_hold import LockHold
from nocohost.store.lock_rows import free_lock, renew_lock, seconds_until_free, take_lock
from nocohost.store.lock_turns import LockTurn, LockTurns

NAME_LENGTH = 200
SHORTEST_LEASE_SECONDS = 1.0
LONGEST_LEASE_SECONDS = 86400.0
POLL_SECONDS = 1.0
"""How often a lock is looked at while it is waited for, if no hint says that it is free."""
SOON_SECONDS = 0.01
CLOSE_SECONDS = 5.0


class LeaseLocks:
    """The locks of one node; see ``nocohost.api.app.Locks`` for the promise.

    The tasks of a node take turns, in the order in which they asked; nodes compete. A lock is freed when its block is
    left, however that happens, and otherwise by the end of its lease.
    """

    def __init__(self, database: SqlDatabase, hints: Hints, *, node_id: str, clock: Clock, log: Log) -> None:
        self.database = database
        self.node_id = node_id
        self.clock = clock
        self.log = log
        self.turns = LockTurns()
        self._hints = hints
        self._waiting: dict[str, asyncio.Event] = {}
        self._errands: set[asyncio.Task[Any]] = set()
        hints.subscribe(LOCK, self._hear)

    def acquire(
        self, name: str, *, lease_seconds: float = 15.0, wait_seconds: float | None = None
    ) -> AbstractAsyncContextManager[Lock]:
        """Hold the lock ``name`` for the block; see ``nocohost.api.app.Locks.acquire``."""
        if not isinstance(name, str) or not 0 < len(name) <= NAME_LENGTH or not name.isprintable():
            raise QueueError(
                f"{str(name)[:40]!r} cannot be the name of a lock", hint=f"1 to {NAME_LENGTH} printable characters"
            )
        if not SHORTEST_LEASE_SECONDS <= lease_seconds <= LONGEST_LEASE_SECONDS:
            raise QueueError(
                f"the lock {name!r} cannot have a lease of {lease_seconds} s",
                hint=f"{SHORTEST_LEASE_SECONDS:g} to {LONGEST_LEASE_SECONDS:g} s; it is renewed while the block runs",
            )
        if wait_seconds is not None and not wait_seconds >= 0:
            raise QueueError(f"nobody can wait {wait_seconds} s for a lock", hint="0 or more, or None: for ever")
        return _Acquisition(self, name, lease_seconds, wait_seconds)

    async def close(self) -> None:
        """Wait until the database has heard of every lock that was left."""
        if self._errands:
            await asyncio.wait(self._errands, timeout=CLOSE_SECONDS)

    @contextmanager
    def woken_for(self, name: str) -> Iterator[asyncio.Event]:
        """Give an event that is set whenever ``name`` may have become free."""
        freed = self._waiting[name] = asyncio.Event()  # tasks take turns, so nobody else waits for it here
        try:
            yield freed
        finally:
            del self._waiting[name]

    def tell_free(self, name: str) -> None:
        """Wake those who wait for the lock, here and elsewhere."""
        self._hear(name)
        self._hints.send(LOCK, name)

    def is_errand(self, task: "asyncio.Task[Any]") -> bool:
        """Tell whether the task must not be cancelled."""
        return task in self._errands

    def start(self, errand: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Start what must come to its end, whatever becomes of the task that wants it."""
        task = asyncio.create_task(errand)
        self._errands.add(task)
        task.add_done_callback(self._done)
        return task

    def _hear(self, name: str | None) -> None:
        for waited, freed in self._waiting.items():
            if name in (None, waited):
                freed.set()

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._errands.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits for it is told; nobody may wait any more


class _Acquisition(AbstractAsyncContextManager[Lock]):
    """One task's way to a lock and back."""

    def __init__(self, locks: LeaseLocks, name: str, lease_seconds: float, wait_seconds: float | None) -> None:
        self._locks = locks
        self._name = name
        self._lease_seconds = lease_seconds
        self._wait_seconds = wait_seconds
        self._deadline = float("inf")
        self._holder = new_claim_id()
        self._turn: LockTurn | None = None
        self._is_given_up = False
        self._hold = LockHold(
            name, lease_seconds, lambda: locks.start(self._renewed()), clock=locks.clock, log=locks.log
        )

    async def __aenter__(self) -> Lock:
        locks = self._locks
        if self._turn is not None or locks.turns.is_mine(self._name):
            raise LockTimeoutError(
                f"this task already holds the lock {self._name!r}", hint="a task cannot take a lock twice"
            )
        if locks.database.in_write_transaction:
            raise NestedWriteError(
                f"the lock {self._name!r} was asked for inside database.begin()", hint="take the lock first, then begin"
            )
        if self._wait_seconds is not None:
            self._deadline = locks.clock.monotonic() + self._wait_seconds
        self._turn = locks.turns.ask(self._name)
        is_held = False
        try:
            if not self._turn.has_come.is_set():
                await self._until(asyncio.create_task(self._turn.has_come.wait()), self._seconds_left())
            if not self._turn.has_come.is_set():
                raise self._timed_out()
            await self._obtain()
            is_held = True
        finally:
            if not is_held:
                locks.turns.leave(self._turn)
        self._hold.enter()
        return self._hold

    async def __aexit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._turn is not None, "entered"
        hold, was_held = self._hold, self._hold.is_held
        hold.leave()
        freeing = self._locks.start(self._free())
        try:
            if hold.is_lost:
                is_lost = await hold.is_own_cancellation(raised)
            elif was_held:
                is_lost = False
                await self._until(freeing, hold.seconds_left)  # if that is not enough, it goes on without us
            else:  # nothing else ran in this loop for so long; what counts is whether anybody has taken the lock
                is_lost = await asyncio.shield(freeing) is not True and raised is None
        finally:
            self._locks.turns.leave(self._turn)
        if is_lost:
            raise hold.lost() from raised

    async def _obtain(self) -> None:
        """Take the lock from the database; raises ``LockTimeoutError`` at the deadline."""
        if await self._take():
            return
        with self._locks.woken_for(self._name) as freed:
            while True:
                freed.clear()
                async with glance(self._locks.database) as connection:
                    lease = await seconds_until_free(connection, self._name)
                if not lease and await self._take():
                    return
                if self._seconds_left() <= 0:
                    raise self._timed_out()
                pause = min(max(lease, SOON_SECONDS), POLL_SECONDS, self._seconds_left())
                await self._until(asyncio.create_task(freed.wait()), pause)

    async def _take(self) -> bool:
        """Try once. A task that is cancelled meanwhile leaves nothing behind."""
        asked_at = self._locks.clock.monotonic()
        taking = self._locks.start(self._taken())
        try:
            fence = await asyncio.shield(taking)
        except (asyncio.CancelledError, StoreError, ConfigError):
            self._is_given_up = True
            if taking.done():
                self._locks.start(self._free())
            raise
        if fence is None:
            return False
        self._hold.begin(fence, asked_at)
        if self._hold.is_held:
            return True
        await asyncio.shield(self._locks.start(self._free()))  # the answer came after the lease had ended
        return False

    async def _taken(self) -> int | None:
        locks = self._locks
        async with locks.database.autocommit() as connection:
            fence = await take_lock(
                connection, self._name, self._holder, node_id=locks.node_id, lease_seconds=self._lease_seconds
            )
        if self._is_given_up:
            await self._free()
        return fence

    async def _renewed(self) -> bool:
        async with self._locks.database.autocommit() as connection:
            return await renew_lock(connection, self._name, self._holder, lease_seconds=self._lease_seconds)

    async def _free(self) -> bool | None:
        """Free the lock; return False when somebody else has taken it, None when the database is away."""
        try:
            async with self._locks.database.autocommit() as connection:
                is_freed = await free_lock(connection, self._name, self._holder)
        except (StoreError, ConfigError) as error:
            self._locks.log.warning(
                "lock.unfreed", lock=self._name, reason=str(error), hint="it is free when its lease ends"
            )
            return None
        if is_freed:
            self._locks.tell_free(self._name)
        return is_freed

    async def _until(self, task: "asyncio.Task[Any]", seconds: float) -> None:
        """Wait until ``task`` is done, but no longer than ``seconds``."""
        waiting: set[asyncio.Task[Any]] = {task}
        if seconds < float("inf"):
            waiting.add(asyncio.create_task(self._locks.clock.sleep(seconds)))
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waiting:
                if not self._locks.is_errand(one):
                    one.cancel()

    def _seconds_left(self) -> float:
        return self._deadline - self._locks.clock.monotonic()

    def _timed_out(self) -> LockTimeoutError:
        return LockTimeoutError(
            f"the lock {self._name!r} was not free within {self._wait_seconds:g} s",
            hint="wait longer, or do without: another node holds it",
        )
