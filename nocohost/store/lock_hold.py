"""A lock that is held: its lease is renewed, and the task inside is cancelled before the lease can have ended."""

import asyncio
from collections.abc import Callable

from nocohost.api.clock import Clock
from nocohost.api.errors import ConfigError, LockLostError, StoreError
from nocohost.api.log import Log

RENEWALS = 3
"""How often a lease is renewed within its length."""
MARGIN_SHARE = 0.2
LONGEST_MARGIN_SECONDS = 2.0
"""How long before the end of the lease the task inside is cancelled: a fifth of the lease, at most this."""
TRY_AGAIN_SECONDS = 0.5


class LockHold:
    """Implements ``nocohost.api.app.Lock`` for the task that enters it.

    ``renew`` starts a task that lets the lease in the database start anew, and returns False when somebody else has
    taken the lock.
    """

    def __init__(
        self, name: str, lease_seconds: float, renew: Callable[[], "asyncio.Task[bool]"], *, clock: Clock, log: Log
    ) -> None:
        self._name = name
        self._lease_seconds = lease_seconds
        self._margin = min(lease_seconds * MARGIN_SHARE, LONGEST_MARGIN_SECONDS)
        self._renew = renew
        self._clock = clock
        self._log = log
        self._fence = 0
        self._ends_at = 0.0
        self._is_lost = False
        self._has_left = False
        self._task: asyncio.Task[object] | None = None
        self._cancels_before = 0
        self._keeping: asyncio.Task[None] | None = None

    @property
    def fence(self) -> int:
        """Return a number that rises each time the lock changes hands."""
        return self._fence

    @property
    def is_held(self) -> bool:
        """Tell whether the lease holds by this node's account."""
        return not (self._is_lost or self._has_left) and self._clock.monotonic() < self._ends_at

    @property
    def is_lost(self) -> bool:
        """Tell whether the task inside was cancelled because the lease was about to end."""
        return self._is_lost

    @property
    def seconds_left(self) -> float:
        """Return how long the lease holds by this node's account."""
        return max(self._ends_at - self._clock.monotonic(), 0.0)

    def begin(self, fence: int, asked_at: float) -> None:
        """Take note that the database gave the lock under ``fence``, asked for at that monotonic time."""
        self._fence = fence
        self._ends_at = asked_at + self._lease_seconds - self._margin

    def enter(self) -> None:
        """Renew the lease from now on, for the block of the running task."""
        self._task = asyncio.current_task()
        assert self._task is not None, "a block runs in a task"
        self._cancels_before = self._task.cancelling()
        self._keeping = asyncio.create_task(self._keep(), name=f"lock {self._name}")

    def leave(self) -> None:
        """Renew the lease no more: the block is over."""
        self._has_left = True
        if self._keeping is not None:
            self._keeping.cancel()

    async def is_own_cancellation(self, raised: BaseException | None) -> bool:
        """Take the cancellation of a lost lock back; tell whether it, and nothing else, ended the block."""
        if not self._is_lost or self._task is None:
            return False
        if raised is None:
            try:
                await asyncio.sleep(0)  # the cancellation may still be on its way, and shall not leave the block
            except asyncio.CancelledError as error:
                raised = error
        is_ours = self._task.uncancel() <= self._cancels_before
        return raised is None or (isinstance(raised, asyncio.CancelledError) and is_ours)

    def lost(self) -> LockLostError:
        """Return what the holder is told."""
        return LockLostError(
            f"the lock {self._name!r} was lost: its lease of {self._lease_seconds:g} s was not renewed in time",
            hint="somebody else may hold it now; what it protects must refuse a fence below the latest it has seen",
        )

    async def _keep(self) -> None:
        """Renew the lease until cancelled; when that fails for too long, cancel the task inside."""
        usual = self._lease_seconds / RENEWALS
        pause = usual
        while True:
            await self._clock.sleep(min(pause, self.seconds_left))
            asked_at = self._clock.monotonic()
            renewed = await self._renew_in_time() if self.is_held else False
            if renewed is False:
                break
            if renewed:
                self._ends_at = asked_at + self._lease_seconds - self._margin
            pause = usual if renewed else min(TRY_AGAIN_SECONDS, usual)
        self._is_lost = True
        self._log.warning("lock.lost", lock=self._name, fence=self._fence)
        assert self._task is not None, "set by enter"
        self._task.cancel()

    async def _renew_in_time(self) -> bool | None:
        """Return whether the lease was renewed; None when the database did not say so before the lease ends."""
        renewing = self._renew()
        ending = asyncio.ensure_future(self._clock.sleep(self.seconds_left))
        try:
            await asyncio.wait({renewing, ending}, return_when=asyncio.FIRST_COMPLETED)
            return renewing.result() if renewing.done() else None
        except (StoreError, ConfigError) as error:
            self._log.warning("lock.unrenewed", lock=self._name, reason=str(error))
            return None
        finally:
            ending.cancel()
            renewing.cancel()
