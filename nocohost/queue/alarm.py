"""The alarm for work that nobody serves: told once when it begins, and once when it is over."""

from collections.abc import Sequence

from nocohost.api.clock import Clock
from nocohost.api.log import Log
from nocohost.queue.lookout import Lookout
from nocohost.queue.supervision import Supervision
from nocohost.store.coverage import COUNTED

LOOK_SECONDS = 10.0
GRACE_SECONDS = 5.0
"""How long work may lie unserved before anybody is told: a starting cluster is quiet."""


class Alarm:
    """Looks at the coverage on every node, by one statement every ten seconds.

    A key that somebody has paused is not the alarm's business, nor is work that is not due yet.
    """

    def __init__(self, lookout: Lookout, *, clock: Clock, log: Log) -> None:
        self._lookout = lookout
        self._clock = clock
        self._log = log
        self._supervision = Supervision("alarm", log)
        self._since: dict[str, float] = {}
        self._raised: dict[str, int] = {}

    @property
    def lines(self) -> Sequence[str]:
        """Return one line for each key whose work nobody serves, as long as that is so."""
        return [f"no live node serves {key}: {_counted(jobs)} due" for key, jobs in sorted(self._raised.items())]

    async def run(self) -> None:
        """Look every ten seconds, and sooner where work has just been found unserved, until cancelled."""
        while True:
            pause = await self._supervision.turn(self.turn)
            if pause is None:
                pause = LOOK_SECONDS if len(self._raised) == len(self._since) else GRACE_SECONDS
            await self._clock.sleep(pause)

    async def turn(self) -> None:
        """Look once, and tell what has changed."""
        seen = await self._lookout.look()
        now = self._clock.monotonic()
        for key, jobs in seen.unserved.items():
            since = self._since.setdefault(key, now)
            if key in self._raised:
                self._raised[key] = jobs
            elif now - since >= GRACE_SECONDS:
                self._raised[key] = jobs
                self._log.warning(
                    "key.unserved",
                    key=key,
                    due=_counted(jobs),
                    hint="no live node serves it; start one whose WORKER_MODE covers it, or see: nocohost doctor",
                )
        for key in self._since.keys() - seen.unserved.keys():
            del self._since[key]
            if self._raised.pop(key, None) is not None:
                reason = "a live node serves it" if key in seen.served else "nothing of it is due, or it is paused"
                self._log.info("key.cleared", key=key, reason=reason)


def _counted(jobs: int) -> str:
    number = f"{COUNTED} or more" if jobs >= COUNTED else str(jobs)
    return f"{number} job{'' if jobs == 1 else 's'}"
