"""The rooms of a node, beside its event loop: threads, and children with their spares."""

import asyncio
import sys
from collections.abc import Callable, Mapping
from functools import partial

from prometheus_client import CollectorRegistry, Gauge

from nocohost.api.room import Room
from nocohost.api.service import Service
from nocohost.child.process import Child
from nocohost.child.room import ChildRoom
from nocohost.child.scratch import Scratch, sweep_scratch
from nocohost.child.spares import Spares
from nocohost.child.thread_room import ThreadRoom
from nocohost.host.build import NodeParts
from nocohost.node.clock import SystemClock

COMMAND = (sys.executable, "-P", "-m", "nocohost", "child")


class Rooms:
    """Made with the node; after ``open`` spare children are kept while there is work; ``close`` ends all."""

    def __init__(self, parts: NodeParts, services: Mapping[str, Service], registry: CollectorRegistry) -> None:
        self._parts = parts
        self._scratch = Scratch()
        clock, log = SystemClock(), parts.log  # threads and processes live in real time, in tests too
        isolated = [key for key, service in services.items() if service.isolation == "process"]
        spares = Spares(
            self._start,
            parts.settings.queue.spare_children if isolated else 0,
            isolated[0] if len(isolated) == 1 else None,
            clock=clock,
            log=log,
        )
        self._children = ChildRoom(spares, log=log)
        self._threads = ThreadRoom(parts.app, parts.database, clock=clock, log=log)
        self._measure(registry)

    @property
    def by_isolation(self) -> Mapping[str, Room]:
        """Return the rooms by the isolation that they are for."""
        return {"thread": self._threads, "process": self._children}

    async def open(self) -> None:
        """Remove what children of dead nodes have left; keep spare children from the first work order on.

        Spares are kept if a key that is served here needs some.
        """
        swept = await asyncio.to_thread(sweep_scratch)
        if swept:
            self._parts.log.info("scratch.swept", nodes=swept)
        self._children.spares.open()

    def kill_children(self) -> None:
        """Kill every child that runs a handler: others are about to take its job."""
        self._children.kill()

    async def close(self) -> None:
        """End every child, and let the threads go."""
        await self._children.close()
        self._threads.close()
        self._scratch.close()

    def _start(self, key: str | None) -> Child:
        child = Child.start(COMMAND, self._parts.log, key, self._scratch.take())
        child.send(
            "hello",
            settings=self._parts.settings.model_dump(mode="json", exclude={"admin_token"}),
            node_id=self._parts.app.node.id,
            path=sys.path,
            key=key,
        )
        return child

    def _measure(self, registry: CollectorRegistry) -> None:
        count = Gauge("nocohost_children", "Children of this node, by state.", ("state",), registry=registry)
        memory = Gauge(
            "nocohost_children_resident_bytes", "Resident memory of the children.", ("state",), registry=registry
        )
        states: Mapping[str, Callable[[], list[Child]]] = {
            "busy": lambda: self._children.busy,
            "idle": lambda: self._children.idle.waiting,
            "spare": lambda: self._children.spares.waiting,
        }
        for state, children in states.items():
            count.labels(state).set_function(partial(_number, children))
            memory.labels(state).set_function(partial(_resident, children))


def _number(children: Callable[[], list[Child]]) -> float:
    return float(len(children()))


def _resident(children: Callable[[], list[Child]]) -> float:
    return float(sum(child.resident_bytes for child in children()))
