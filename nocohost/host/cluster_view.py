"""What a node sees of its cluster, and says: work that nobody serves, and what it leaves behind when it goes."""

import asyncio
from collections.abc import Collection, Sequence

from nocohost.api.errors import ConfigError, StoreError
from nocohost.api.log import Log
from nocohost.host.build import NodeParts
from nocohost.queue.alarm import Alarm
from nocohost.queue.lookout import Lookout
from nocohost.store.coverage import read_coverage
from nocohost.store.glance import glance

LEAVING_SECONDS = 2.0
"""How long a leaving node may look for who goes on with its keys."""


class ClusterView:
    """The lookout of one node, its alarm, and its last look."""

    def __init__(self, parts: NodeParts, lookout: Lookout) -> None:
        self._database = parts.database
        self._log: Log = parts.log
        self._lookout = lookout
        self._alarm = Alarm(
            lookout,
            parts.app.node.id,
            clock=parts.clock,
            log=parts.log,
            look_seconds=parts.settings.queue.timing.look_seconds,
        )

    @property
    def unserved(self) -> Sequence[str]:
        """Return one line for each key whose work nobody serves."""
        return self._alarm.lines

    async def watch(self) -> None:
        """Keep looking until cancelled."""
        await self._alarm.run()

    def joined(self) -> None:
        """Note that this node serves from now on."""
        self._lookout.forget()

    async def warn_of_work_left(self, keys: Collection[str]) -> None:
        """Warn of each of ``keys`` that has work and that nobody serves, now that this node does not any more.

        A database that is away or slow does not keep the node: then nothing is said.
        """
        if not keys:
            return
        try:
            async with asyncio.timeout(LEAVING_SECONDS), glance(self._database) as connection:
                found = await read_coverage(connection, {})
        except (StoreError, ConfigError, TimeoutError) as error:
            self._log.warning("node.left_unseen", reason=f"who goes on with its keys is not known: {error}")
            return
        for one in found:
            if one.key in keys and not one.nodes and one.pending + one.running:
                self._log.warning(
                    "node.last_of_key",
                    key=one.key,
                    pending=one.pending,
                    running=one.running,
                    hint="no other live node serves it; its jobs wait until one does",
                )
