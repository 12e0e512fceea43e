"""The one loop of a node that claims jobs and starts their attempts."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from random import random
from typing import Any

from nocohost.api.clock import Clock
from nocohost.api.errors import ConfigError, StoreConflictError, StoreError
from nocohost.api.log import Log
from nocohost.api.service import Service
from nocohost.node.identity import new_claim_id
from nocohost.queue.attempt import Attempt, Attempts
from nocohost.queue.limits import ClusterLimits
from nocohost.queue.outcome import Interruption
from nocohost.queue.supervision import Supervision
from nocohost.store.brief import write_briefly
from nocohost.store.claims import hand_back, held_jobs, release_unknown
from nocohost.store.database import SqlDatabase
from nocohost.store.glance import glance
from nocohost.store.hot.values import LOWEST_FLOOR, ClaimedJob, Want

HINT_SECONDS = 0.1
"""A hint may run ahead of its commit: how long after a hint without a job the consumer looks once more."""
LOOKS = 2
GRACE_SECONDS = 1.0
"""What of a drain's time handlers get once cancelled, before their jobs are released without them; a fifth at most."""
LATE_SECONDS = 2.0
"""An answer to a claim that took so long, less than any lease, is compared first: this node may have been frozen, and
others have freed its jobs."""
CLAIM_LIMIT = 250
"""Jobs of one claim: the next is under way while these run, so that neither database nor node waits for the other."""
AGEING_SHARE = 0.1
"""How many claims of a backlog start at the priority whose first job has waited longest, so that none starves."""


class Consumer:
    """Claims for every key the node serves, as far as there are free slots; one per node, started once.

    Nothing is claimed unless the node's row says ``serving`` and its lease holds. ``wake`` is the hint that there may
    be work; without any the consumer looks every ``poll_seconds``.
    """

    def __init__(
        self,
        database: SqlDatabase,
        node_id: str,
        services: Mapping[str, Service],
        attempts: Attempts,
        *,
        clock: Clock,
        log: Log,
        poll_seconds: float,
    ) -> None:
        self._database = database
        self._node_id = node_id
        self._offers = {key: attempts.offer(service) for key, service in services.items()}
        self._free = {key: service.concurrency for key, service in services.items()}
        self._limits = ClusterLimits(database, node_id, services, clock)
        self._attempts = attempts
        self._clock = clock
        self._log = log
        self._poll_seconds = poll_seconds
        self.draw: Callable[[], float] = random
        self._running: dict[str, Attempt] = {}
        """By claim and job: one job may be here twice, an attempt that lost its claim and the next one."""
        self._empty = asyncio.Event()
        self._empty.set()
        self._woken = asyncio.Event()
        self._turning = asyncio.Lock()
        self._supervision = Supervision("consumer", log)
        self._claims = True
        self._is_fenced = False
        self._closed = False
        self._unsure = False
        self._looks = 0
        """How many claims are to be made because of a hint, unless one of them finds something."""
        self._backlog: frozenset[str] = frozenset()
        """Keys that had more due jobs than the last claim took."""
        self._ageing: dict[str, int] = {}
        """From which priority on to look next for who has waited longest."""
        self._look_at = 0.0

    @property
    def busy(self) -> int:
        """Return how many handlers run at this moment; any thread may ask."""
        return self._attempts.running

    @property
    def is_idle(self) -> bool:
        """Tell whether no claim is on its way and no attempt is unfinished, outcome written included."""
        return not self._running and not self._turning.locked()

    def busy_with(self, key: str) -> int:
        """Return how many slots of ``key`` are taken."""
        return self._offers[key].service.concurrency - self._free[key]

    def wake(self, key: str | None = None) -> None:
        """Look for work now, if ``key`` is served here; from the event loop's thread only."""
        if key is None or key in self._offers:
            self._looks = LOOKS
            self._woken.set()

    async def run(self) -> None:
        """Claim and start attempts until ``drain`` is through; an outage of the database only makes it wait."""
        while not self._closed:
            pause = await self._supervision.turn(self._turn)
            await self._wait(self._pause() if pause is None else pause, hints=pause is None)

    def stop_claiming(self) -> None:
        """Claim nothing from now on; what runs goes on."""
        self._claims = False

    def fence(self) -> None:
        """Cancel every handler and claim nothing until ``unfence``: the lease may end before the next beat arrives."""
        self._is_fenced = True
        self.cancel_all(Interruption.LEASE)

    def unfence(self) -> None:
        """Claim again: a beat has arrived."""
        self._is_fenced = False
        self.wake()

    def cancel_all(self, reason: str) -> None:
        """Cancel every handler; ``reason`` is an ``Interruption``: ``drain`` and ``lease`` hand the jobs back."""
        for attempt in list(self._running.values()):
            attempt.interrupt(Interruption(reason))

    async def drain(self, seconds: float) -> int:
        """Stop claiming, wait for what runs, cancel and release the rest uncharged within ``seconds``; return how many.

        ``run`` ends afterwards. A database that is away does not keep this waiting: the lease frees those jobs.
        """
        self.stop_claiming()
        grace = min(GRACE_SECONDS, seconds / 5)
        await self._within(seconds - grace, self._all_done())
        left = len(self._running)
        if left:
            self.cancel_all(Interruption.DRAIN)
            await self._within(grace, self._all_done())
        if self._running or self._unsure:
            await self._within(GRACE_SECONDS, self._release())
        self._closed = True
        self._woken.set()
        return left

    async def _turn(self) -> None:
        async with self._turning:
            now = self._clock.monotonic()
            if self._unsure or (self._running and now >= self._look_at):
                await self._compare()
                self._look_at = now + self._poll_seconds
            if self._claims and not self._is_fenced:
                await self._claim()

    async def _compare(self) -> None:
        """Compare what runs here with what the database says, and mend the difference, whatever its cause."""
        mine = dict(self._running)
        async with glance(self._database) as connection:
            held = await held_jobs(connection, self._node_id)
        for one in held:
            attempt = mine.pop(one.claim_id + one.id, None)
            if attempt is not None and one.cancel_requested:
                attempt.interrupt(Interruption.CANCEL)
            elif attempt is not None and one.is_drained:
                attempt.interrupt(Interruption.DRAIN)
        for attempt in mine.values():
            attempt.interrupt(Interruption.FENCE)
        for attempt in self._running.values():
            self._attempts.cancel_again(attempt)
        unknown = [one for one in held if one.claim_id + one.id not in self._running]
        count = 0
        if unknown:
            count = await write_briefly(self._database, lambda one: release_unknown(one, self._node_id, unknown))
            if count:
                self._log.warning("claim.released", jobs=count, reason="the answer to a claim was lost")
        self._unsure = count < len(unknown)

    async def _claim(self) -> None:
        free = {key: min(count, CLAIM_LIMIT) for key, count in self._free.items() if count > 0}
        await self._limits.refresh()
        wants = await self._wants(free)
        looks, self._looks = self._looks, 0  # a hint that comes while the database is asked is not for this claim
        plain, limited = self._limits.split(wants, is_idle=not (looks or self._backlog))
        places = self._attempts.places
        rows: list[ClaimedJob] = []
        asked_at = self._clock.monotonic()
        if plain or limited:
            self._unsure = True
            try:
                if plain:
                    rows = await self._database.hot.claim(self._node_id, new_claim_id(), plain, places)
                if limited:
                    places -= sum(self._needs_place(row) for row in rows)
                    rows += await self._limits.claim(new_claim_id(), limited, places)
            except StoreConflictError:
                self._looks = LOOKS  # two nodes met at the first job of a group: one has it, the other looks again
                # Of what was claimed before they met, the answer is lost: the next turn compares.
            except StoreError:
                self._looks = LOOKS
                raise
            else:
                self._unsure = False
        claimed = Counter(row.key for row in rows)
        # A key without a free slot was not asked for; it has as much left as it had.
        self._backlog = frozenset(key for key, count in free.items() if claimed[key] >= count) | (
            self._backlog - free.keys()
        )
        if not rows:
            self._looks = max(self._looks, looks - 1)
        elif self._clock.monotonic() - asked_at >= LATE_SECONDS:
            rows = await self._still_held(rows)
        for row in sorted(rows, key=self._needs_place, reverse=True):  # before those that would only like a place
            self._start(row)

    async def _still_held(self, rows: list[ClaimedJob]) -> list[ClaimedJob]:
        was_unsure, self._unsure = self._unsure, True
        async with glance(self._database) as connection:
            held = {one.claim_id + one.id for one in await held_jobs(connection, self._node_id)}
        self._unsure = was_unsure
        return [row for row in rows if row.claim_id + row.id in held]

    async def _wants(self, free: Mapping[str, int]) -> list[Want]:
        wants = [Want(key, slots, isolated=self._is_isolated(key)) for key, slots in free.items()]
        behind = [want for want in wants if want.key in self._backlog]
        if not behind or self.draw() >= AGEING_SHARE:
            return wants
        levels = await self._database.hot.oldest_levels(
            [want._replace(floor=self._ageing.get(want.key, LOWEST_FLOOR)) for want in behind]
        )
        for key, level in levels.items():
            self._ageing[key] = LOWEST_FLOOR if level.last is None else level.last
        floors = {key: level.priority for key, level in levels.items() if level.priority is not None}
        return [want._replace(floor=floors.get(want.key, LOWEST_FLOOR)) for want in wants]

    def _is_isolated(self, key: str) -> bool:
        return self._offers[key].service.isolation == "process"

    def _needs_place(self, row: ClaimedJob) -> bool:
        return row.must_run_apart and not self._is_isolated(row.key)

    def _start(self, row: ClaimedJob) -> None:
        why = None
        if not self._claims or self._is_fenced:
            why = Interruption.LEASE if self._is_fenced else Interruption.DRAIN
        self._free[row.key] -= 1
        self._running[row.claim_id + row.id] = self._attempts.start(row, self._offers[row.key], why, self._ended)
        self._empty.clear()

    def _ended(self, attempt: Attempt) -> None:
        job = attempt.job
        if self._running.pop(job.claim_id + job.id, None) is None:
            return  # given up at the end of a drain
        self._free[job.key] += 1
        if not self._running:
            self._empty.set()
        if attempt.has_place:
            self.wake()  # for jobs of whatever key that were passed over without it
        elif job.key in self._backlog or job.group is not None or self._limits.holds_back(job.key):
            self._woken.set()

    async def _release(self) -> None:
        """Hand back what is still held; the attempts that hold it are given up."""
        self._attempts.give_up()
        for attempt in self._running.values():
            if attempt.task is not None:
                attempt.task.cancel()
        self._running.clear()
        try:
            count = await write_briefly(self._database, lambda one: hand_back(one, self._node_id))
            self._log.warning("drain.released", jobs=count)
        except (StoreError, ConfigError) as error:
            self._log.error("drain.failed", reason=str(error), hint="the jobs are freed when the lease ends")

    async def _within(self, seconds: float, work: Coroutine[Any, Any, None]) -> None:
        """Wait for ``work``, but no longer than ``seconds``."""
        timer = asyncio.create_task(self._clock.sleep(seconds))
        task = asyncio.create_task(work)
        try:
            await asyncio.wait({timer, task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            task.cancel()

    async def _all_done(self) -> None:
        async with self._turning:  # a claim on its way comes to its end first
            pass
        await self._empty.wait()

    def _pause(self) -> float:
        may_claim = self._claims and not self._is_fenced
        if may_claim and any(self._free[key] > 0 for key in self._backlog):
            return 0.0
        if may_claim and self._looks:
            return min(HINT_SECONDS, self._poll_seconds)
        return min(self._poll_seconds, self._limits.pause_seconds or self._poll_seconds)

    async def _wait(self, seconds: float, *, hints: bool) -> None:
        """Wait until the time is over, or somebody wakes the consumer; during an outage hints are not heard."""
        if seconds <= 0:
            return  # the next claim is sent first: the database works on it while what was just claimed runs
        sleeper = asyncio.create_task(self._clock.sleep(seconds))
        waker = asyncio.create_task(self._woken.wait())
        try:
            awaited = {sleeper, waker} if hints or self._closed else {sleeper}
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeper.cancel()
            waker.cancel()
        self._woken.clear()
