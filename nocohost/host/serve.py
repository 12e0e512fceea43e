"""A node as a process: started, kept until a signal, drained; its end is an exit code."""

import asyncio
import os
import sys
from contextlib import suppress

from nocohost.api.errors import RequiredServiceError
from nocohost.api.log import Log
from nocohost.host.build import build_node
from nocohost.host.ending import Ending
from nocohost.host.heap import settle_heap
from nocohost.host.running import RunningNode
from nocohost.host.signals import stop_signals
from nocohost.node.clock import SystemClock
from nocohost.node.settings import Settings, read_mode
from nocohost.plugins.catalogue import read_catalogue
from nocohost.web.server import ListenError

UNAVAILABLE = 69
INTERNAL = 70
PARENT_SECONDS = 1.0
CLOSE_SECONDS = 10.0
"""What a node gets past its drain to leave lifespans and close its doors; then it is ended."""
LINGER_SECONDS = 2.0
"""What tasks and threads that plugins left behind get once the node is closed."""


async def serve_node(settings: Settings, log: Log, *, parent: int | None = None) -> int:
    """Run one node until a signal asks it to stop, and return the exit code.

    ``parent`` is the process that started it; when that is gone, the node drains as if asked to. Raises ``ConfigError``
    for what the operator must mend.
    """
    catalogue = read_catalogue()
    parsed = read_mode(settings, catalogue.declared_keys)
    log = log.bind(node=settings.node_name)
    for notice in parsed.notices:
        log.warning("mode.notice", notice=notice)
    stop = asyncio.Event()

    def ask(reason: str) -> None:
        log.info("node.stopping", reason=reason)
        stop.set()

    with stop_signals(asyncio.get_running_loop(), ask):
        watcher = asyncio.create_task(watch_parent(parent, stop), name="watch parent")
        try:
            if parsed.mode.is_transient:
                log.info("child.waiting", mode="-", hint="a child without a work order does nothing")
                await stop.wait()
                return 0
            node = RunningNode(build_node(settings, catalogue, parsed.mode, clock=SystemClock(), log=log), ask=ask)
            ending = Ending(log)
            code = await run_until(node, stop, log, ending)
            ending.within(LINGER_SECONDS, code)
            return code
        finally:
            watcher.cancel()


async def run_until(node: RunningNode, stop: asyncio.Event, log: Log, ending: Ending) -> int:
    """Start the node, wait for ``stop`` or for a fault that it cannot live with, and close it."""
    last_seconds = node.parts.settings.drain_seconds + CLOSE_SECONDS
    starting = asyncio.create_task(node.start(terminal=sys.stdout.isatty()), name="start node")
    stopping = asyncio.create_task(stop.wait(), name="wait for stop")
    try:
        await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            ending.within(last_seconds, INTERNAL)
            starting.cancel()
        with suppress(asyncio.CancelledError):
            await starting
            settle_heap()
            await stopping
    except ListenError as error:
        log.error("node.failed", code=error.code, reason=str(error))
        return UNAVAILABLE
    except RequiredServiceError as error:
        log.error("node.failed", code=error.code, reason=str(error))
        return INTERNAL
    finally:
        stopping.cancel()
        ending.within(last_seconds, INTERNAL)
        await node.stop()
    return 0


async def watch_parent(parent: int | None, stop: asyncio.Event) -> None:
    """Set ``stop`` once ``parent`` is no longer the parent of this process."""
    while parent is not None and not stop.is_set():
        await asyncio.sleep(PARENT_SECONDS)
        if os.getppid() != parent:
            stop.set()
