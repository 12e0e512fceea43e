"""One node from start to stop: the order in which its parts open, and the order in which they close.

Admin port, database, schema, plugins, their lifespans, the node's row and heartbeat, the consumer, the main port: each
step needs the one before it. Stopping walks back, and drains on the way.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack

from prometheus_client import CollectorRegistry

from nocohost.api.errors import NocohostError
from nocohost.host.build import NodeParts
from nocohost.host.cluster_view import ClusterView
from nocohost.host.doors import Doors
from nocohost.host.first_token import create_first_admin, require_admin
from nocohost.host.lifespans import enter_lifespans
from nocohost.host.plugins import activate_plugins, plugins_up
from nocohost.host.status import NodeState, NodeStatus
from nocohost.host.work import Work
from nocohost.plugins.activation import Activation
from nocohost.store.migrate import ensure_schema
from nocohost.web.hosts import is_loopback
from nocohost.web.metrics import describe_node

READY_SECONDS = 5.0


def _nobody(reason: str) -> None:
    """Ask nobody to stop the node."""


class RunningNode:
    """One node; started once, stopped once. ``ask(reason)`` is called when somebody in the cluster asks it to stop."""

    def __init__(
        self, parts: NodeParts, *, leave: Callable[[int], None] = os._exit, ask: Callable[[str], None] = _nobody
    ) -> None:
        self.parts = parts
        self._ask = ask
        self.status = NodeStatus()
        self._registry = CollectorRegistry()
        self._leave = leave
        self._stack = AsyncExitStack()
        self._doors = Doors(parts, self.status, self._registry)
        self._work: Work | None = None

    @property
    def doors(self) -> Doors:
        """Return where the node listens."""
        return self._doors

    @property
    def work(self) -> Work | None:
        """Return the background half of the node, None before it has started."""
        return self._work

    async def start(self, *, terminal: bool = False) -> None:
        """Open everything in order; the node serves when this returns.

        With ``terminal`` a node bound to loopback shows the first admin token that it makes. Whatever is raised, call
        ``stop`` afterwards.
        """
        await self._doors.open_admin()
        unfit = await self._open_database()
        await self.parts.hints.start()
        shown = await self._admit(terminal)
        self._step("loading plugins")
        activation = await activate_plugins(self.parts, unfit, self._registry)
        lookout = self.parts.make_lookout()
        queue = self.parts.make_queue(lookout)
        self.parts.app.settle(activation.served_keys)
        schedules = self.parts.open_app(queue)
        self._step("entering lifespans")
        activation = await enter_lifespans(self.parts, activation, self._stack)
        self.parts.app.settle(activation.served_keys)
        self._work = Work(
            self.parts,
            self.status,
            activation,
            self._registry,
            self._leave,
            view=ClusterView(self.parts, lookout),
            ask=self._ask,
        )
        queue.on_enqueued = self._work.enqueued
        queue.reports.on_changed = self._work.freed
        schedules.on_changed = self._work.schedule_changed
        await self._work.start(self._doors.admin_address)
        if self.parts.mode.serves_requests:
            self._step("opening the main port")
            await self._doors.open_requests(activation, wake=self._work.freed, retime=self._work.schedule_changed)
        await self._serve(activation, shown)

    async def stop(self) -> None:
        """Drain and close what was opened, in reverse order; never raises for a part that is gone already."""
        settings = self.parts.settings
        self.status.state = NodeState.DRAINING
        deadline = self.parts.clock.monotonic() + settings.drain_seconds
        if self._work is not None:
            await self._work.begin_drain(settings.drain_seconds)
        if self._doors.serves_requests:
            self._doors.announce_stop()
            await self.parts.clock.sleep(self._ready_seconds())
            await asyncio.gather(self._doors.close_requests(deadline), self._drain(deadline))
        else:
            await self._drain(deadline)
        await self._stack.aclose()
        if self._work is not None:
            await self._work.stop()
        self.status.state = NodeState.STOPPED
        await self._doors.close_admin()
        await self.parts.close()
        self.parts.log.info("node.stopped")

    async def _open_database(self) -> Mapping[str, NocohostError]:
        database, settings = self.parts.database, self.parts.settings
        self._step(f"waiting for {database.shown}")
        await database.wait(settings.database.wait_seconds)
        self.status.ping = database.ping
        self._step("comparing the schema")
        sets, unreadable = self.parts.migrations()
        unfit = await ensure_schema(database, sets, upgrade_allowed=settings.database.upgrade)
        return {**unreadable, **unfit}

    async def _admit(self, terminal: bool) -> str | None:
        """Refuse a public address without an admin; on loopback and a terminal, make the first one."""
        settings = self.parts.settings
        if settings.admin_token is not None or not self.parts.mode.serves_requests:
            return None
        if not is_loopback(settings.http.host):
            await require_admin(self.parts.database, settings.http.host)
            return None
        return await create_first_admin(self.parts.database) if terminal else None

    async def _serve(self, activation: Activation, token: str | None) -> None:
        requests = ["requests"] if self.parts.mode.serves_requests else []
        describe_node(self._registry, self.parts.app.node, self.parts.mode, plugins_up(activation))
        self.status.serves = requests + sorted(activation.served_keys)
        self.status.quarantined = [f"{state.entry}: {state.reason}" for state in activation.quarantined]
        self.status.checks = activation.checks
        self.status.state = NodeState.SERVING
        assert self._work is not None
        await self._work.announce(NodeState.SERVING)
        log = self.parts.log
        if token is not None:
            log.info("token.created", token=token, scopes=["admin"], hint="the token is not shown again")
        tell, event = (log.info, "node.serving") if self.status.serves else (log.warning, "node.serves_nothing")
        tell(
            event,
            mode=self.parts.mode.canonical,
            serves=list(self.status.serves),
            requests=self._doors.url,
            admin=self._doors.admin_address,
            database=self.parts.database.shown,
        )

    async def _drain(self, deadline: float) -> None:
        if self._work is not None:
            await self._work.drain(max(deadline - self.parts.clock.monotonic(), 0.0))

    def _ready_seconds(self) -> float:
        """Return how long the node only says that it is not ready, for balancers to notice."""
        settings = self.parts.settings
        if settings.drain_ready_seconds is not None:
            return settings.drain_ready_seconds
        return 0.0 if is_loopback(settings.http.host) else min(READY_SECONDS, settings.drain_seconds)

    def _step(self, step: str) -> None:
        self.status.step = step
        self.parts.log.debug("node.starting", step=step)
