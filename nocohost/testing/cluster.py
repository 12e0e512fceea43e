"""A cluster of real processes, one per worker mode, on one database: to kill, to stop, to start again."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from nocohost.host.processes import NodeProcess, free_port
from nocohost.testing.node import TOKEN

LEAVE_SECONDS = 30.0


@dataclass
class ClusterNode:
    """One process of a cluster under test."""

    process: NodeProcess
    lines: list[str] = field(default_factory=list)
    """What the node has logged, oldest first, across restarts."""

    @property
    def url(self) -> str:
        """Return where requests are answered, if the mode serves them."""
        return self.process.url

    @property
    def admin_url(self) -> str:
        """Return where health and metrics are answered."""
        return self.process.admin_url

    @property
    def headers(self) -> dict[str, str]:
        """Return the request headers of an admin."""
        return {"Authorization": f"Bearer {TOKEN}"}

    async def start(self) -> None:
        """Start the process, again too, and wait until it is ready; raises ``AssertionError`` with its log if not."""
        await self.process.start()
        assert await self.process.ready(), "\n".join([f"{self.process.name} did not become ready", *self.lines])

    async def kill(self) -> None:
        """Kill the process with SIGKILL and wait for its end."""
        self.process.signal(signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> int:
        """Ask the process to drain, and return its exit code."""
        self.process.signal(signal.SIGTERM)
        async with asyncio.timeout(LEAVE_SECONDS):
            return await self.process.wait()


@asynccontextmanager
async def open_cluster(
    modes: Sequence[str], folder: Path, environ: Mapping[str, str] = MappingProxyType({})
) -> AsyncIterator[list[ClusterNode]]:
    """Run one process per mode within the block; yields them ready, in order.

    They share a SQLite file in ``folder`` unless ``environ`` names another database, and use the fast profile: the
    jobs of a killed node run elsewhere within 6 s.
    """
    defaults = {
        "NOCOHOST_DATA_DIR": str(folder),
        "NOCOHOST_ADMIN_TOKEN": TOKEN,
        "NOCOHOST_QUEUE__PROFILE": "fast",
        "NOCOHOST_LOG__FORMAT": "json",
    }
    environment = {**os.environ, **defaults, **environ}
    nodes = [_node(number, mode, environment) for number, mode in enumerate(modes, start=1)]
    try:
        await asyncio.gather(*(node.start() for node in nodes))
        yield nodes
    finally:
        for node in nodes:
            node.process.signal(signal.SIGKILL)
        await asyncio.gather(*(node.process.wait() for node in nodes if node.process.process is not None))


def _node(number: int, mode: str, environment: Mapping[str, str]) -> ClusterNode:
    lines: list[str] = []
    process = NodeProcess(
        name=f"node-{number}",
        mode=mode,
        http_port=free_port(),
        admin_port=free_port(),
        environment=environment,
        on_line=lambda _, line: lines.append(line),
    )
    return ClusterNode(process, lines)
