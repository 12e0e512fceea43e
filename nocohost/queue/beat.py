"""The heartbeat: one thread with a connection of its own renews the node's lease, whatever the event loop does."""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from nocohost.api.clock import Clock
from nocohost.api.log import Log
from nocohost.node.setting_models import Timing
from nocohost.queue.supervision import Supervision
from nocohost.store.heartbeat import HeartbeatConnection
from nocohost.store.nodes import NodeRecord, Standing
from nocohost.store.presence import Presence

if TYPE_CHECKING:
    from sqlalchemy import Engine

STOP_SECONDS = 2.0


class Beat:
    """Renews the lease of ``record`` every ``beat_seconds``. The node's row is there before the first beat.

    ``renewed(sent_at)`` is called after each beat that the database answered, with the monotonic instant at which the
    beat was *sent*: an answer that took long does not stretch the trust that the node may have in its lease.
    ``state`` is what the node's row gets back when others took the node for lost. ``is_quiet`` and ``stop_requested``
    are what people asked of the node, as its row said at the last beat; ``on_stop`` is called once, from this thread,
    when they ask it to stop.
    """

    def __init__(
        self,
        open_engine: "Callable[[], Engine]",
        record: NodeRecord,
        timing: Timing,
        *,
        renewed: Callable[[float], None],
        log: Log,
        on_stop: Callable[[], object] = lambda: None,
        presence: Presence | None = None,
    ) -> None:
        self._connection = HeartbeatConnection(open_engine, presence)
        self._record = record
        self._timing = timing
        self._renewed = renewed
        self._log = log
        self._on_stop = on_stop
        self._supervision = Supervision("heartbeat", log, longest_seconds=timing.beat_seconds)
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self.state = "starting"
        self.is_quiet = False
        self.stop_requested = False

    def start(self) -> None:
        """Start the thread; the first beat is sent at once."""
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send no more beats; waits a moment for one that is on its way."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)

    def beat_once(self) -> None:
        """Send one beat and wait for the answer; raises ``StoreError``. Always from the same thread."""
        sent_at = time.monotonic()
        lease = self._timing.lease_seconds
        state = "quiet" if self.is_quiet and self.state == "serving" else self.state
        standing = self._connection.beat(self._record, lease_seconds=lease, state=state)
        if standing.is_new:
            self._log.warning("node.registered_again", reason="somebody had deleted the row of this node")
        self._renewed(sent_at)
        self._obey(standing)

    def _obey(self, standing: Standing) -> None:
        quiet = standing.state == "quiet"
        if quiet != self.is_quiet and standing.state in {"quiet", "serving"}:
            self.is_quiet = quiet
            self._log.info("node.quiet" if quiet else "node.resumed", reason="asked by nocohost nodes or the API")
        if standing.stop_requested and not self.stop_requested:
            self.stop_requested = True
            self._on_stop()

    async def follow(self, clock: Clock) -> None:
        """Beat in the event loop's thread, by ``clock``, until cancelled: for nodes whose time is a test's."""
        try:
            while True:
                pause = self._supervision.turn_in_thread(self.beat_once)
                await clock.sleep(self._timing.beat_seconds if pause is None else pause)
        finally:
            self._connection.close()

    def _run(self) -> None:
        while not self._stopped.is_set():
            begun = time.monotonic()
            pause = self._supervision.turn_in_thread(self.beat_once)
            if pause is None:
                pause = max(self._timing.beat_seconds - (time.monotonic() - begun), 0.0)
            self._stopped.wait(pause)
        Supervision("heartbeat", self._log).turn_in_thread(self._connection.close)  # no sign that an outage is over
