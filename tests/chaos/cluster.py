"""Real node processes of the bench: started, watched, started again; their logs go to files."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from proxy import Proxy
from records import Record

from nocohost.host.processes import free_port

LOOK_SECONDS = 0.05
READY_SECONDS = 60.0


@dataclass(eq=False)
class Node:
    """One node of the cluster: its process changes, its name and its ports stay."""

    name: str
    mode: str
    environ: Mapping[str, str]
    folder: Path
    http_port: int = field(default_factory=free_port)
    admin_port: int = field(default_factory=free_port)
    database: Proxy | None = None
    """What its connections to the database go through, on PostgreSQL."""
    door: Proxy | None = None
    """What its clients come through, if it serves requests."""
    process: subprocess.Popen[bytes] | None = None
    is_ready: bool = False
    """The present process has said once that it is ready."""
    is_held: bool = False
    """Somebody is doing something to it: nobody else may, and it is not started again by itself."""

    @property
    def pid(self) -> int:
        """Return the number of the present process."""
        assert self.process is not None
        return self.process.pid

    @property
    def serves_requests(self) -> bool:
        """Tell whether clients may ask it."""
        return self.mode.startswith("!") or not self.mode

    @property
    def is_sole(self) -> bool:
        """Tell whether this is the only server of ``chaos:lonely``."""
        return self.mode == "chaos:lonely"

    @property
    def works(self) -> bool:
        """Tell whether it serves the keys that most jobs are for."""
        return self.mode != "!" and not self.is_sole

    def start(self) -> None:
        """Start a process; returns at once."""
        self.is_ready = False
        environ = dict(self.environ) | {
            "WORKER_MODE": self.mode,
            "NOCOHOST_NODE_NAME": self.name,
            "NOCOHOST_HTTP__PORT": str(self.http_port),
            "NOCOHOST_ADMIN__PORT": str(self.admin_port),
        }
        with (self.folder / "logs" / f"{self.name}.log").open("ab") as log:
            command = [sys.executable, "-P", "-m", "nocohost", "run"]
            self.process = subprocess.Popen(
                command, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def send(self, number: int) -> None:
        """Send a signal to the process, if it still runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    async def ended(self, seconds: float = 30.0) -> int | None:
        """Wait for the end of the process; return its exit code, None if it does not end in time."""
        assert self.process is not None
        deadline = asyncio.get_running_loop().time() + seconds
        while (code := self.process.poll()) is None and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(LOOK_SECONDS / 5)
        return code


class Cluster:
    """All nodes of a run. Those that leave by themselves are started again, as a supervisor would."""

    def __init__(self, nodes: Sequence[Node], record: Record) -> None:
        self.nodes = nodes
        self._record = record
        self._supervising: asyncio.Task[None] | None = None
        self._ended: set[int] = set()

    async def start(self) -> None:
        """Start all nodes at once, and wait until they are ready."""
        for node in self.nodes:
            self.start_node(node)
        self._supervising = asyncio.create_task(self._supervise(), name="supervise")
        await self.ready()

    def start_node(self, node: Node) -> None:
        """Start the process of one node, and note it."""
        node.start()
        self._record.note("started", node=node.name, pid=node.pid)

    async def ready(self) -> None:
        """Wait until every node is ready."""
        async with asyncio.timeout(READY_SECONDS):
            while not all(node.is_ready and node.process and node.process.poll() is None for node in self.nodes):
                await asyncio.sleep(LOOK_SECONDS)

    def free(self, *, requests: bool | None = None) -> list[Node]:
        """Return the nodes that are ready and to which nobody is doing anything."""
        found = [node for node in self.nodes if not node.is_held and node.is_ready and node.process.poll() is None]
        return [node for node in found if requests is None or node.serves_requests == requests]

    async def stop(self) -> None:
        """Kill whatever still runs."""
        if self._supervising is not None:
            self._supervising.cancel()
            await asyncio.gather(self._supervising, return_exceptions=True)
        for node in self.nodes:
            node.send(signal.SIGKILL)
        for node in self.nodes:
            if node.process is not None:
                await asyncio.to_thread(node.process.wait)

    async def _supervise(self) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(1.0)) as http:
            while True:
                for node in self.nodes:
                    code = node.process.poll() if node.process else None
                    if code is not None and node.pid not in self._ended:
                        self._ended.add(node.pid)
                        self._record.note("ended", node=node.name, pid=node.pid, exit=code, alone=not node.is_held)
                    if code is not None and not node.is_held:
                        self.start_node(node)
                    elif code is None and not node.is_ready:
                        node.is_ready = await self._says_ready(http, node)
                        if node.is_ready:
                            self._record.note("ready", node=node.name, pid=node.pid, works=node.works)
                await asyncio.sleep(LOOK_SECONDS)

    async def _says_ready(self, http: aiohttp.ClientSession, node: Node) -> bool:
        try:
            async with http.get(f"http://127.0.0.1:{node.admin_port}/readyz") as answer:
                return answer.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False


def base_environ(folder: Path, plugin: Path, seed: str) -> dict[str, str]:
    """Return the environment that all nodes of a run share."""
    startup = Path(__file__).with_name("startup")
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(startup), str(plugin)]),
        "PYTHONUNBUFFERED": "1",
        "CHAOS_FOLDER": str(folder),
        "CHAOS_SEED": seed,
        "NOCOHOST_DATA_DIR": str(folder / "data"),
        "NOCOHOST_QUEUE__PROFILE": "fast",
        "NOCOHOST_LOG__FORMAT": "json",
        "NOCOHOST_DRAIN_SECONDS": "1",
    }
