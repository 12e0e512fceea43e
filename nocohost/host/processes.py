"""Real node processes on this machine: started, watched, stopped; for ``nocohost up`` and the test cluster."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

READY_POLL_SECONDS = 0.05


def free_port(host: str = "127.0.0.1", port: int = 0) -> int:
    """Return a TCP port of ``host`` that nobody listens on now; raises ``OSError`` when ``port`` is asked and taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        return int(probe.getsockname()[1])


@dataclass
class NodeProcess:
    """One ``nocohost run`` process: its name, its mode, its ports, and what it prints.

    ``on_line(node, line)`` is called for each line of its log, in order. The process leaves when this one dies.
    """

    name: str
    mode: str
    http_port: int
    admin_port: int
    environment: Mapping[str, str]
    on_line: Callable[["NodeProcess", str], None]
    python: str = sys.executable
    process: asyncio.subprocess.Process | None = None
    _reader: "asyncio.Task[None] | None" = field(default=None, repr=False)

    @property
    def arguments(self) -> Sequence[str]:
        """Return the command line of the process."""
        return (self.python, "-P", "-m", "nocohost", "run", "--parent", str(os.getpid()))

    @property
    def url(self) -> str:
        """Return where the node answers requests, if its mode does."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def admin_url(self) -> str:
        """Return where the node answers health and metrics."""
        return f"http://127.0.0.1:{self.admin_port}"

    async def start(self) -> None:
        """Start the process; returns at once, see ``ready``."""
        environment = dict(self.environment) | {
            "WORKER_MODE": self.mode,
            "NOCOHOST_NODE_NAME": self.name,
            "NOCOHOST_HTTP__PORT": str(self.http_port),
            "NOCOHOST_ADMIN__PORT": str(self.admin_port),
        }
        # A session of its own: Ctrl-C in the terminal reaches the parent alone, which asks each node once.
        self.process = await asyncio.create_subprocess_exec(
            *self.arguments,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            limit=1 << 20,
        )
        self._reader = asyncio.create_task(self._read(self.process), name=f"log of {self.name}")

    async def ready(self, seconds: float = 60.0) -> bool:
        """Wait until ``/readyz`` answers 200; False when the process ends, serves nothing, or the time is up first."""
        assert self.process is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.process.returncode is None:
                    if (answer := await self._ready_or_never()) is not None:
                        return answer
                    await asyncio.sleep(READY_POLL_SECONDS)
        return False

    async def wait(self) -> int:
        """Wait for the end of the process and of its log; return its exit code, negative for a signal."""
        assert self.process is not None
        assert self._reader is not None
        code = await self.process.wait()
        await self._reader
        return code

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Send a signal to the process, if it still runs."""
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:
                line = b"(a line longer than 1 MiB was left out)\n"
            if not line:
                return
            self.on_line(self, line.decode(errors="replace").rstrip("\n"))

    async def _ready_or_never(self) -> bool | None:
        """Ask the node: True when it is ready, False when it serves nothing its mode asks for, None for not yet."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.admin_port)
        except OSError:
            return None
        try:
            writer.write(b"GET /readyz?verbose=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            checks = {check["name"]: check["status"] for check in json.loads(body)["checks"]}
        except (OSError, ValueError, KeyError):
            return None
        finally:
            writer.close()
        if b" 200 " in head.partition(b"\r\n")[0]:
            return True
        return False if checks.get("state") == "ok" and checks.get("serves") == "failing" else None
