"""Put a node together from its settings: who it is, what is installed, which database. Connects to nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from nocohost.api.clock import Clock
from nocohost.api.errors import PluginError, SettingError
from nocohost.api.log import Log
from nocohost.api.mode import WorkerMode
from nocohost.host.app import NodeApp
from nocohost.node.identity import NodeIdentity, new_identity
from nocohost.node.settings import Settings
from nocohost.plugins.catalogue import Catalogue
from nocohost.plugins.declarations import Declarations, load_declarations
from nocohost.plugins.entry import MIGRATIONS
from nocohost.queue.enqueue import JobQueue
from nocohost.queue.lookout import Lookout
from nocohost.queue.schedule_door import ScheduleDoor
from nocohost.storage.choice import shelves_for
from nocohost.storage.door import FileStorage
from nocohost.store.database import SqlDatabase, open_database
from nocohost.store.hints import SCHEDULE, Hints, make_hints
from nocohost.store.locks import LeaseLocks
from nocohost.store.resources.door import SqlResources
from nocohost.store.resources.standing import StandingOrders
from nocohost.store.revisions import MigrationSet, core_migrations, migration_sets
from nocohost.store.signals import HintSignals


@dataclass(frozen=True)
class NodeParts:
    """Everything a node is made of before anything is opened."""

    settings: Settings
    mode: WorkerMode
    catalogue: Catalogue
    declarations: Declarations
    app: NodeApp
    database: SqlDatabase
    hints: Hints
    locks: LeaseLocks
    signals: HintSignals
    storage: FileStorage
    clock: Clock
    log: Log

    def migrations(self) -> tuple[Sequence[MigrationSet], Mapping[str, PluginError]]:
        """Return the core's migration set and the plugins', in the order they are applied; and the unreadable ones."""
        sets, failures = migration_sets(self.catalogue.in_group(MIGRATIONS))
        return [core_migrations(), *sets], failures

    def open_app(self, queue: JobQueue) -> ScheduleDoor:
        """Open every door of the app; the hints behind them are started by whoever lets the app live on.

        Returns the door to the schedules, which tells other nodes of a change until somebody else is to hear of it.
        """
        schedules = ScheduleDoor(self.database, queue.checked)
        schedules.on_changed = partial(self.hints.send, SCHEDULE)
        declared = self.declarations.resources
        orders = StandingOrders(self.database, declared, queue)
        resources = SqlResources(self.database, declared, queue, orders)
        self.app.open(
            self.database,
            queue,
            locks=self.locks,
            signals=self.signals,
            schedules=schedules,
            resources=resources,
            storage=self.storage,
        )
        return schedules

    async def close(self) -> None:
        """Free the locks that were left, stop the hints, and close the database."""
        await self.locks.close()
        await self.hints.stop()
        await self.database.close()

    @property
    def known_keys(self) -> Mapping[str, str]:
        """Return every service key that is known here: with the distribution that offers it, "" for an external one."""
        return {**dict.fromkeys(self.settings.external_keys, ""), **self.catalogue.key_owners}

    def make_lookout(self) -> Lookout:
        """Return what knows who serves what."""
        refuses = self.settings.queue.unserved == "refuse"
        look_seconds = self.settings.queue.timing.look_seconds
        return Lookout(self.database, clock=self.clock, look_seconds=look_seconds, refuses=refuses)

    def make_queue(self, lookout: Lookout | None = None) -> JobQueue:
        """Return the door to the queue on this node's database; without a lookout it warns of no unserved key."""
        return JobQueue(
            self.database,
            self.declarations.job_type,
            keys=self.catalogue.declared_keys,
            external_keys=self.settings.external_keys,
            payload_bytes=self.settings.queue.payload_bytes,
            lookout=lookout,
        )


def build_node(
    settings: Settings,
    catalogue: Catalogue,
    mode: WorkerMode,
    *,
    clock: Clock,
    log: Log,
    identity: NodeIdentity | None = None,
) -> NodeParts:
    """Read the declarations and put the parts together; raises ``SettingError`` for what the operator must mend.

    ``identity`` is that of a node which runs already, of which this is a part.
    """
    declarations = load_declarations(
        catalogue,
        import_seconds=settings.import_seconds,
        plugin_settings=settings.plugins,
        plugin_files=settings.plugin_files,
        log=log,
    )
    if declarations.setting_faults:
        raise SettingError("settings of plugins are wrong", faults=declarations.setting_faults)
    identity = identity or new_identity(settings.node_name)
    log = log.bind(node=identity.name)
    app = NodeApp(
        mode=mode,
        node=identity,
        clock=clock,
        log=log,
        declared=declarations,
        keys=catalogue.declared_keys,
        external_keys=settings.external_keys,
    )
    database = open_database(
        settings.database_url,
        clock=clock,
        synchronous=settings.database.synchronous,
        pool_size=settings.database.pool_size,
        log=log,
    )
    hints = make_hints(database, clock=clock, log=log)
    locks = LeaseLocks(database, hints, node_id=identity.id, clock=clock, log=log)
    signals = HintSignals(hints, log=log)
    storage = FileStorage(
        database,
        shelves_for(settings.storage.url, database, settings.data_dir),
        max_file_mib=settings.storage.max_file_mib,
    )
    return NodeParts(settings, mode, catalogue, declarations, app, database, hints, locks, signals, storage, clock, log)
