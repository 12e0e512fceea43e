"""The watch over one node: a thread that sees a lapsed lease, a stuck event loop and an overdue drain, and acts.

It asks no database, so nothing that the database does can stop it. All instants are monotonic.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from nocohost.api.errors import NocohostError
from nocohost.api.log import Log

FENCED = 70
CANCEL_SHARE = 2 / 3
"""Lease minus 5 s in the default profile, minus 1 s in the fast one: handlers are cancelled, the node is not ready."""
EXIT_SHARE = 14 / 15
"""Lease minus 1 s in the default profile, minus 0.2 s in the fast one: the process exits if anything still runs."""
LOOKS_PER_LEASE = 60
DRAIN_GRACE_SECONDS = 0.5
"""What the event loop gets past the drain deadline to be through."""
RELEASE_SECONDS = 2.0
"""What the thread then gets that releases in its place: it has to connect first, and the machine may be busy."""
SLEPT_SECONDS = 2.0
"""A watch that has not looked for so long was itself asleep, with the whole process: the event loop is asked anew."""


@dataclass(frozen=True)
class Reins:
    """What the watch may do to the node."""

    call_soon: Callable[[Callable[[], None]], object]
    """Runs a function in the event loop's thread: ``loop.call_soon_threadsafe``."""
    fence: Callable[[], None]
    """Cancels every handler and stops claiming; called in the event loop's thread."""
    unfence: Callable[[], None]
    """Lets the node claim again; called in the event loop's thread."""
    busy: Callable[[], int]
    """Tells how many handlers run; called in the watch's thread."""
    release: Callable[[], object]
    """Hands back all jobs of the node by a connection of its own; called in the watch's thread, may raise."""
    leave: Callable[[int], None]
    """Ends the process at once with this exit code: ``os._exit``."""


class Watch:
    """Enforces three deadlines that a busy or broken event loop would miss.

    A node whose last good beat was *sent* two thirds of a lease ago cancels its handlers; at fourteen fifteenths, if
    one still runs, it exits 70. An event loop silent for two thirds of a lease is not ready, for a lease it means
    exit 70. A drain past its deadline ends with the jobs handed back and exit 0.
    """

    def __init__(
        self, lease_seconds: float, reins: Reins, *, log: Log, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._lease = lease_seconds
        self._reins = reins
        self._log = log
        self._monotonic = monotonic
        self._sent_at = monotonic()
        self._asked_at: float | None = None
        self._looked_at = monotonic()
        self._drain_by: float | None = None
        self._releasing: threading.Thread | None = None
        self._release_by = 0.0
        self._is_released = False
        self._is_fenced = False
        self._has_left = False
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def renewed(self, sent_at: float) -> None:
        """Note that the beat sent at this instant arrived."""
        self._sent_at = max(self._sent_at, sent_at)

    def drain_within(self, seconds: float) -> None:
        """Enforce the end of a drain that begins now."""
        self._drain_by = self._monotonic() + seconds

    def drained(self) -> None:
        """Note that the drain is through; what is left to close has time limits of its own."""
        self._drain_by = None

    def silence(self) -> str | None:
        """Say since when the event loop has been silent if that is too long; None while all is well."""
        asked = self._asked_at
        silent = 0.0 if asked is None else self._monotonic() - asked
        return f"the event loop has been silent for {silent:.1f} s" if silent >= self._lease * CANCEL_SHARE else None

    def lapse(self) -> str | None:
        """Say since when no beat has arrived if that is too long; None while all is well."""
        age = self._monotonic() - self._sent_at
        return f"no heartbeat has arrived for {age:.1f} s" if age >= self._lease * CANCEL_SHARE else None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer."""
        self._stopped.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(1.0)

    def look(self) -> None:
        """Look once at all three deadlines and act."""
        now = self._monotonic()
        if self._has_left:
            return
        if self._drain_by is not None and now >= self._drain_by + DRAIN_GRACE_SECONDS:
            self._end_drain(now)
        else:
            self._look_at_loop(now)
        if not self._has_left:
            self._look_at_lease(now)

    def _look_at_loop(self, now: float) -> None:
        asked = self._asked_at
        slept, self._looked_at = now - self._looked_at > SLEPT_SECONDS, now
        if asked is None or slept:
            self._asked_at = now
            self._call_soon(self._answered)
        elif now - asked >= self._lease:
            self._leave(FENCED, f"the event loop has been silent for {now - asked:.1f} s")

    def _look_at_lease(self, now: float) -> None:
        age = now - self._sent_at
        if age < self._lease * CANCEL_SHARE:
            if self._is_fenced:
                self._is_fenced = False
                self._call_soon(self._reins.unfence)
        elif age >= self._lease * EXIT_SHARE and self._reins.busy():
            self._leave(
                FENCED, f"no heartbeat has arrived for {age:.1f} s, and {self._reins.busy()} handlers still run"
            )
        elif not self._is_fenced:
            self._is_fenced = True
            self._log.error("node.fenced", reason=f"no heartbeat has arrived for {age:.1f} s", handlers="cancelled")
            self._call_soon(self._reins.fence)

    def _call_soon(self, call: Callable[[], None]) -> None:
        try:
            self._reins.call_soon(call)
        except RuntimeError:  # the event loop is closed: nothing is left to watch over
            self._stopped.set()

    def _answered(self) -> None:
        self._asked_at = None

    def _end_drain(self, now: float) -> None:
        """Leave in the place of an event loop that no longer does; what it held is handed back first, if possible."""
        if self._releasing is None:
            releasing = threading.Thread(target=self._release, name="release", daemon=True)
            self._release_by = now + RELEASE_SECONDS
            try:
                releasing.start()
            except RuntimeError as error:  # the machine has no room for it; the lease frees the jobs
                self._leave(FENCED, f"the drain is past its deadline, and {error}")
                return
            self._releasing = releasing
            self._releasing.join(self._lease / LOOKS_PER_LEASE)
        if not self._releasing.is_alive() or now >= self._release_by:
            self._leave(0 if self._is_released else FENCED, "the drain is past its deadline")

    def _release(self) -> None:
        try:
            self._reins.release()
            self._is_released = True
        except NocohostError as error:
            self._log.error("drain.failed", reason=str(error), hint="the jobs are freed when the lease ends")

    def _leave(self, code: int, reason: str) -> None:
        self._has_left = True
        self._log.error("node.leaving", reason=reason, exit=code)
        self._reins.leave(code)

    def _run(self) -> None:
        while not self._stopped.wait(self._lease / LOOKS_PER_LEASE):
            self.look()
