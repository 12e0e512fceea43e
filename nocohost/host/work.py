"""The background half of a node: its row and heartbeat, the watch over it, the consumer, the sweep."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial

from prometheus_client import CollectorRegistry

from nocohost.api.errors import ConfigError, StoreError
from nocohost.api.version import VERSION
from nocohost.host.build import NodeParts
from nocohost.host.cluster_view import ClusterView
from nocohost.host.files import FileSweep
from nocohost.host.rooms import Rooms
from nocohost.host.schedules import make_schedule_loop
from nocohost.host.status import NodeState, NodeStatus
from nocohost.plugins.activation import Activation
from nocohost.queue.attempt import Attempts
from nocohost.queue.beat import Beat
from nocohost.queue.consumer import Consumer
from nocohost.queue.limits import declared_limits
from nocohost.queue.loss import LossRules
from nocohost.queue.metrics import QueueMetrics
from nocohost.queue.sweep import Sweep, Upkeep
from nocohost.queue.watch import Reins, Watch
from nocohost.store.claims import any_due
from nocohost.store.heartbeat import HeartbeatConnection
from nocohost.store.hints import JOB, SCHEDULE
from nocohost.store.keys import note_served
from nocohost.store.limits import declare_limits
from nocohost.store.nodes import NodeRecord, beat, leave_cluster, register_node, set_node_state
from nocohost.store.one_machine import require_one_machine
from nocohost.store.presence import make_presence


class Work:
    """Registers the node, keeps its lease, and runs its services; started once, drained once, stopped once."""

    def __init__(
        self,
        parts: NodeParts,
        status: NodeStatus,
        activation: Activation,
        registry: CollectorRegistry,
        leave: Callable[[int], None],
        *,
        view: ClusterView,
        ask: Callable[[str], None],
    ) -> None:
        self._parts = parts
        self._view = view
        self._ask = ask
        self._status = status
        self._services = activation.services
        self._leave = leave
        self._node_id = parts.app.node.id
        self._timing = parts.settings.queue.timing
        self._metrics = QueueMetrics(registry)
        self._rooms = Rooms(parts, self._services, registry)
        self._consumer = self._make_consumer()
        self._schedules = make_schedule_loop(parts, activation, self.enqueued)
        self._presence = make_presence(parts.database, self._node_id, self._timing.lease_seconds)
        self._record: NodeRecord | None = None
        self._beat: Beat | None = None
        self._watch: Watch | None = None
        self._loops: list[asyncio.Task[None]] = []
        for key, service in self._services.items():
            self._metrics.watch_slots(key, service.concurrency, partial(self._consumer.busy_with, key))

    async def start(self, address: str) -> None:
        """Join the cluster and start every loop; nothing is claimed before ``announce`` says that the node serves."""
        self._record = self._describe(address)
        lease = self._timing.lease_seconds
        await require_one_machine(self._parts.database)
        async with self._parts.database.begin() as connection:
            await register_node(connection, self._record, lease_seconds=lease)
            await declare_limits(connection, declared_limits(self._services))
        self._watch = Watch(lease, self._reins(), log=self._parts.log)
        self._beat = Beat(
            self._parts.database.open_sync,
            self._record,
            self._timing,
            renewed=self._watch.renewed,
            log=self._parts.log,
            on_stop=partial(asyncio.get_running_loop().call_soon_threadsafe, self._ask, "asked by nocohost nodes stop"),
            presence=self._presence,
        )
        self._status.is_quiet = lambda: self._beat is not None and self._beat.is_quiet
        self._status.unserved = lambda: self._view.unserved
        self._status.silence = self._watch.silence
        self._status.lapse = self._watch.lapse
        self._beat.start()
        self._watch.start()
        if self._services:
            self._parts.hints.subscribe(JOB, self._consumer.wake)
            self._parts.hints.subscribe(SCHEDULE, self._schedules.wake)
        await self._schedules.begin()
        self._loops = [asyncio.create_task(loop, name=name) for name, loop in self._make_loops().items()]
        await self._rooms.open()

    async def announce(self, state: NodeState) -> None:
        """Tell the cluster where the node stands; a database that is away hears of it from a later beat."""
        if self._beat is None:
            return
        self._beat.state = state.value
        try:
            async with self._parts.database.begin() as connection:
                await set_node_state(connection, self._node_id, state.value)
                if state is NodeState.SERVING:
                    await note_served(connection, self._services.keys())
        except (StoreError, ConfigError) as error:
            self._parts.log.warning("node.unannounced", state=state.value, reason=str(error))
        self._view.joined()
        self._consumer.wake()

    def wake(self, key: str | None = None) -> None:
        """Look for work now, if ``key`` is served here, and for ticks that have come."""
        self._consumer.wake(key)
        self._schedules.wake()

    def schedule_changed(self, name: str) -> None:
        """Look for ticks now, here and on other nodes."""
        self._schedules.wake(name)
        self._parts.hints.send(SCHEDULE, name)

    async def seconds_to_tick(self) -> float | None:
        """Return how long the next tick under the keys of this node is away, 0 or less when one has come."""
        return await self._schedules.seconds_to_tick()

    def enqueued(self, key: str, jobs: int = 1) -> None:
        """Count jobs that this node has enqueued, and look for them."""
        self._metrics.of(key).enqueued(jobs)
        self._consumer.wake(key)
        self._parts.hints.send(JOB, key)

    def freed(self, key: str) -> None:
        """Look for a job that was freed from a lost node or changed by hand, here and on other nodes."""
        self._consumer.wake(key)
        self._parts.hints.send(JOB, key)

    async def has_work(self) -> bool:
        """Tell whether a job runs here, or a job or a tick is due under a key that this node serves."""
        if not self._consumer.is_idle:
            return True
        if not self._services:
            return False
        seconds = await self.seconds_to_tick()
        if seconds is not None and seconds <= 0:
            return True
        async with self._parts.database.connect() as connection:
            is_due = await any_due(connection, list(self._services))
        return is_due or not self._consumer.is_idle  # what was due may have been claimed while the database was asked

    async def renew(self, seconds: float) -> None:
        """Keep the lease for ``seconds`` longer than usual: for a test that is about to let them pass."""
        assert self._record is not None
        assert self._beat is not None
        record, state, lease = self._record, self._beat.state, self._timing.lease_seconds + seconds
        async with self._parts.database.begin() as connection:
            await connection.run_sync(lambda sync: beat(sync, record, lease_seconds=lease, state=state))

    async def begin_drain(self, seconds: float) -> None:
        """Claim nothing from now on; from a thread, see to it that the drain ends in time."""
        self._consumer.stop_claiming()
        if self._watch is not None:
            self._watch.drain_within(seconds)
        await self.announce(NodeState.DRAINING)

    async def drain(self, seconds: float) -> None:
        """Wait up to ``seconds`` for the jobs that run, and hand the rest back."""
        left, _ = await asyncio.gather(
            self._consumer.drain(seconds), self._view.warn_of_work_left(self._services.keys())
        )
        if self._watch is not None:
            self._watch.drained()
        if left:
            self._parts.log.warning("node.drained", released=left, seconds=round(seconds, 1))
            for key in self._services:
                self._parts.hints.send(JOB, key)

    async def stop(self) -> None:
        """Leave the cluster and end every loop."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        await self._rooms.close()
        if self._beat is not None:
            await self._leave_cluster()  # before the beat ends, and with it what shows that this process lives
            await asyncio.to_thread(self._beat.stop)
        if self._watch is not None:
            self._watch.stop()

    async def _leave_cluster(self) -> None:
        try:
            async with self._parts.database.begin() as connection:
                await leave_cluster(connection, self._node_id)
                await note_served(connection, self._services.keys())
        except (StoreError, ConfigError) as error:
            self._parts.log.warning("node.unannounced", state=NodeState.STOPPED.value, reason=str(error))

    def _make_consumer(self) -> Consumer:
        parts = self._parts
        attempts = Attempts(
            parts.database,
            parts.declarations.job_type,
            parts.app,
            node_id=self._node_id,
            clock=parts.clock,
            log=parts.log,
            metrics=self._metrics,
        )
        attempts.rooms = self._rooms.by_isolation
        return Consumer(
            parts.database,
            self._node_id,
            self._services,
            attempts,
            clock=parts.clock,
            log=parts.log,
            poll_seconds=parts.settings.queue.poll_seconds,
        )

    def _make_loops(self) -> dict[str, Coroutine[None, None, None]]:
        parts = self._parts
        sweep = Sweep(
            parts.database,
            self._node_id,
            self._services.keys(),
            clock=parts.clock,
            log=parts.log,
            metrics=self._metrics,
            sweep_seconds=self._timing.sweep_seconds,
        )
        sweep.presence = self._presence
        sweep.judge = LossRules(self._services, parts.declarations.job_type).judge
        sweep.freed = self.freed
        history_seconds = parts.settings.queue.history_seconds
        upkeep = Upkeep(
            parts.database,
            self._services.keys(),
            clock=parts.clock,
            log=parts.log,
            history_seconds=history_seconds,
        )
        loops = {"sweep": sweep.run(), "upkeep": upkeep.run(), "alarm": self._view.watch()}
        loops["files"] = FileSweep(parts.storage, clock=parts.clock, log=parts.log).run()
        if self._services:
            loops |= {"consumer": self._consumer.run(), "schedules": self._schedules.run()}
        return loops

    def _reins(self) -> Reins:
        def release() -> None:
            connection = HeartbeatConnection(self._parts.database.open_sync)
            try:
                connection.release_jobs(self._node_id)
            finally:
                connection.close()

        return Reins(
            call_soon=asyncio.get_running_loop().call_soon_threadsafe,
            fence=self._fence,
            unfence=self._consumer.unfence,
            busy=lambda: self._consumer.busy,
            release=release,
            leave=self._leave,
        )

    def _fence(self) -> None:
        self._consumer.fence()
        self._rooms.kill_children()

    def _describe(self, address: str) -> NodeRecord:
        parts = self._parts
        return NodeRecord(
            id=self._node_id,
            name=parts.app.node.name,
            mode=parts.mode.canonical,
            requests=parts.mode.serves_requests,
            services=sorted(self._services),
            version=VERSION,
            plugins={entry.distribution: entry.version for entry in parts.catalogue.entries},
            address=address,
        )
