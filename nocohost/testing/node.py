"""A node of any worker mode inside the test process, on a SQLite file of its own and a clock that the test turns."""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from nocohost.api.app import App
from nocohost.host.build import build_node
from nocohost.host.log import make_log
from nocohost.host.running import RunningNode
from nocohost.host.work import Work
from nocohost.node.settings import load_settings, read_mode
from nocohost.plugins.catalogue import read_catalogue
from nocohost.testing.clock import FakeClock

TOKEN = "nch_test_admin_token_of_a_node_under_test"  # noqa: S105 - it opens nothing but nodes of tests
SETTLE_SECONDS = 30.0
POLL_SECONDS = 0.005
INSTANT = 0.000001


@dataclass(frozen=True)
class TestNode:
    """A node under test: its app, where it listens, and the means to let time pass."""

    __test__ = False

    running: RunningNode
    clock: FakeClock
    neighbours: list["TestNode"]
    """Every node under test on the same clock, this one too."""

    @property
    def app(self) -> App:
        """Return the app, as plugins get it."""
        return self.running.parts.app

    @property
    def url(self) -> str:
        """Return where requests are answered; raises ``AssertionError`` where none are."""
        assert self.running.doors.url is not None, f"mode {self.app.mode} serves no requests"
        return self.running.doors.url

    @property
    def admin_url(self) -> str:
        """Return where health and metrics are answered."""
        return f"http://{self.running.doors.admin_address}"

    @property
    def headers(self) -> dict[str, str]:
        """Return the request headers of an admin."""
        return {"Authorization": f"Bearer {TOKEN}"}

    async def settled(self) -> None:
        """Wait until this node has nothing left to do now: no due job under its keys, and none running here."""
        async with asyncio.timeout(SETTLE_SECONDS):
            while await self.work.has_work():
                self.work.wake()
                await asyncio.sleep(POLL_SECONDS)

    async def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass on the clock of all nodes and of their database, and wait until they have settled.

        The clock stops at each tick of a schedule that a node serves, until its job is done: as if the nodes had served
        all the while. Nodes under test beat in real time; their leases are renewed beforehand, so that none is taken
        for lost.
        """
        end = self.clock.monotonic() + seconds
        while True:
            away = [await node.work.seconds_to_tick() for node in self.neighbours]
            left = end - self.clock.monotonic()
            step = max(0.0, min([left, *(max(one, INSTANT) for one in away if one is not None)]))
            for node in self.neighbours:
                await node.work.renew(step)
            self.clock.advance(step)
            for node in self.neighbours:
                await node.settled()
            if self.clock.monotonic() >= end:
                return

    @property
    def work(self) -> Work:
        """Return the background half of the node."""
        assert self.running.work is not None, "the node has not started"
        return self.running.work


@asynccontextmanager
async def open_node(
    mode: str, folder: Path, clock: FakeClock, neighbours: list[TestNode], environ: Mapping[str, str]
) -> AsyncIterator[TestNode]:
    """Run a node of ``mode`` within the block; its database is a file in ``folder``, its ports are free ones.

    Nodes opened on one ``folder`` and ``clock`` are a cluster, and share ``neighbours``. ``environ`` adds
    settings. The installed plugins are active, as the mode says.
    """
    defaults = {
        "NOCOHOST_DATA_DIR": str(folder),
        "NOCOHOST_HTTP__PORT": "0",
        "NOCOHOST_ADMIN__PORT": "0",
        "NOCOHOST_ADMIN_TOKEN": TOKEN,
        "NOCOHOST_LOG__LEVEL": "warning",
    }
    settings = load_settings({**defaults, **environ, "WORKER_MODE": mode}).settings
    catalogue = read_catalogue()
    log = make_log(sys.stderr, level=settings.log.level)
    parsed = read_mode(settings, catalogue.declared_keys)
    parts = build_node(settings, catalogue, parsed.mode, clock=clock, log=log)
    running = RunningNode(parts, leave=_leave)
    try:
        await running.start()
        node = TestNode(running, clock, neighbours)
        neighbours.append(node)
        yield node
    finally:
        neighbours[:] = [node for node in neighbours if node.running is not running]
        await running.stop()


def _leave(code: int) -> None:
    raise AssertionError(f"the node under test would have left with exit code {code}")
