"""The end of the process, whatever plugins left behind in it."""

import os
import threading
from collections.abc import Callable

from nocohost.api.log import Log


class Ending:
    """Ends the process when it does not end by itself.

    Python waits without limit for tasks that swallow their cancellation and for threads that do not return. The
    supervisor of a node would kill it for that, and nobody would know why.
    """

    def __init__(self, log: Log, leave: Callable[[int], None] = os._exit) -> None:
        self._log = log
        self._leave = leave
        self._timer: threading.Timer | None = None

    def within(self, seconds: float, code: int) -> None:
        """Leave with ``code`` if the process still runs after ``seconds``; takes the place of what was said before."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(seconds, self._end, (seconds, code))
        self._timer.daemon = True
        self._timer.start()

    def _end(self, seconds: float, code: int) -> None:
        threads = [thread.name for thread in threading.enumerate() if not thread.daemon]
        self._log.error(
            "node.leaving",
            reason=f"a task or thread of a plugin did not end within {seconds:g} s",
            threads=threads,
            exit=code,
        )
        self._leave(code)
