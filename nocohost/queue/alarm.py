"""The alarm for work that nobody serves: told once when it begins, and once when it is over, by one node for all."""

from collections.abc import Sequence

from nocohost.api.clock import Clock
from nocohost.api.log import Log
from nocohost.queue.lookout import Lookout
from nocohost.queue.supervision import Supervision
from nocohost.store.coverage import Glimpse, counted, unserved_line

GRACE_LOOKS = 0.5
"""How long work may lie unserved before anybody is told, in looks: a starting cluster is quiet."""
OWED_LOOKS = 2.0
"""How long whoever comes first now tells what its predecessor may have died before telling, in looks.

Longer than a lease: a node that froze is first until its lease ends.
"""


class Alarm:
    """Looks at the coverage on every node, by one statement every ``look_seconds``.

    Each node knows what lies unserved; the live node that started first writes it into its log. A key that somebody has
    paused is not the alarm's business, nor is work that is not due yet.
    """

    def __init__(self, lookout: Lookout, node_id: str, *, clock: Clock, log: Log, look_seconds: float) -> None:
        self._lookout = lookout
        self._node_id = node_id
        self._clock = clock
        self._log = log
        self._look_seconds = look_seconds
        self._grace_seconds = GRACE_LOOKS * look_seconds
        self._supervision = Supervision("alarm", log)
        self._since: dict[str, float] = {}
        self._raised: dict[str, int] = {}
        self._owed: dict[str, float] = {}

    @property
    def lines(self) -> Sequence[str]:
        """Return one line for each key whose work nobody serves, as long as that is so."""
        return [unserved_line(key, jobs) for key, jobs in sorted(self._raised.items())]

    async def run(self) -> None:
        """Look now and then, and sooner where work has just been found unserved, until cancelled."""
        while True:
            pause = await self._supervision.turn(self.turn)
            if pause is None:
                pause = self._look_seconds if len(self._raised) == len(self._since) else self._grace_seconds
            await self._clock.sleep(pause)

    async def turn(self) -> None:
        """Look once, and tell what has changed."""
        seen = await self._lookout.look()
        now = self._clock.monotonic()
        speaks = seen.first in (self._node_id, None)
        for key, jobs in seen.unserved.items():
            since = self._since.setdefault(key, now)
            if key not in self._raised and now - since < self._grace_seconds:
                continue
            if key not in self._raised:
                self._owed[key] = now + OWED_LOOKS * self._look_seconds
            self._raised[key] = jobs
            if key in self._owed and (speaks or now > self._owed[key]):
                del self._owed[key]
                if speaks:
                    self._tell(key, jobs)
        for key in self._since.keys() - seen.unserved.keys():
            self._clear(key, seen, speaks)

    def _tell(self, key: str, jobs: int) -> None:
        self._log.warning(
            "key.unserved",
            key=key,
            due=counted(jobs),
            hint="no live node serves it; start one whose WORKER_MODE covers it, or see: nocohost doctor",
        )

    def _clear(self, key: str, seen: Glimpse, speaks: bool) -> None:
        del self._since[key]
        self._owed.pop(key, None)
        if self._raised.pop(key, None) is not None and speaks:
            reason = "a live node serves it" if key in seen.served else "nothing of it is due, or it is paused"
            self._log.info("key.cleared", key=key, reason=reason)
