"""The upgrade itself: Alembic, set by set, under a lock that the whole cluster shares. Runs in a thread of its own."""

import contextlib
import fcntl
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event
from typing import Any, TextIO

from sqlalchemy import Connection, Engine, delete, insert
from sqlalchemy.exc import SQLAlchemyError

from nocohost.api.errors import NocohostError, PluginContractError, StoreUnavailableError
from nocohost.store.database import SqlDatabase
from nocohost.store.engine import WRITES
from nocohost.store.revisions import CORE, MigrationSet
from nocohost.store.schema import migrations
from nocohost.store.translate import translate
from nocohost.store.types import db_now

POLL_SECONDS = 0.1
LOCK = 0x6E6F636F  # "noco": the advisory lock of migrations on PostgreSQL


def upgrade_under_lock(
    database: SqlDatabase, sets: Sequence[MigrationSet], stop: Event | None = None
) -> dict[str, NocohostError]:
    """Apply every set that is behind; see ``nocohost.store.migrate.upgrade``. Blocks.

    ``stop`` ends the wait for another node that is at it.
    """
    failures: dict[str, NocohostError] = {}
    stop = stop or Event()
    engine = database.open_sync(limited=False)
    try:
        with _locked(engine, database.file, stop):
            for item in sets:
                try:
                    _apply(engine, item, database.shown)
                except NocohostError as error:
                    if item.plugin == CORE:
                        raise
                    failures[item.plugin] = error
    finally:
        engine.dispose()
    return failures


def _apply(engine: Engine, item: MigrationSet, shown: str) -> None:
    with engine.connect().execution_options(**{WRITES: True}) as connection:
        try:
            _keep_children(connection)
            if not _is_behind(connection, item):  # another node was first
                return
            _run_revisions(connection, item)
        except SQLAlchemyError as error:
            raise _told(item, translate(error, shown)) from error
        except NocohostError:
            raise
        except (Exception, SystemExit) as error:  # a revision file is code of a guest
            raise PluginContractError(
                f"a migration of {item.plugin} failed: {type(error).__name__}: {error}"
            ) from error


def _told(item: MigrationSet, error: NocohostError) -> NocohostError:
    """Say whose migration has failed, and what to do about it."""
    if item.plugin != CORE:
        error.message = f"a migration of {item.plugin} failed: {error.message}"
        error.hint = error.hint or "mend it, then start again or run: nocohost db upgrade"
    return error


def _keep_children(connection: Connection) -> None:
    """Switch SQLite's foreign keys off: a batch migration drops the old table, which would cascade to its children.

    It is said to the driver before any transaction, within which SQLite ignores it; the connection is not reused.
    """
    if connection.dialect.name == "sqlite":
        driver: Any = connection.connection.driver_connection
        driver.execute("PRAGMA foreign_keys=OFF")


def _is_behind(connection: Connection, item: MigrationSet) -> bool:
    from alembic.migration import MigrationContext

    with connection.begin():
        context = MigrationContext.configure(connection, opts={"version_table": item.version_table})
        found = context.get_current_revision()
    return found != item.head() and (found is None or found in item.revisions())


def _run_revisions(connection: Connection, item: MigrationSet) -> None:
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    config = Config()
    script = ScriptDirectory(str(item.directory), version_locations=[str(item.directory)])

    def steps(revision: object, context: object) -> object:
        return script._upgrade_revs("heads", revision)  # type: ignore[arg-type]

    def note(*_: Any, **step: Any) -> None:
        if connection.dialect.name == "sqlite" and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
            raise PluginContractError(f"a migration of {item.plugin} leaves rows whose foreign keys point nowhere")
        # In the transaction of each revision: were it noted at the end, a node killed just before would leave later
        # starts nothing to do, and older versions would go by what an older one allowed.
        _note(connection, item)

    with EnvironmentContext(config, script, fn=steps, destination_rev="heads") as environment:
        environment.configure(
            connection=connection,
            version_table=item.version_table,
            transaction_per_migration=True,
            transactional_ddl=True,
            render_as_batch=connection.dialect.name == "sqlite",
            fn=steps,
            on_version_apply=note,
        )
        with environment.begin_transaction():
            environment.run_migrations()


def _note(connection: Connection, item: MigrationSet) -> None:
    connection.execute(delete(migrations).where(migrations.c.plugin == item.plugin))
    connection.execute(
        insert(migrations).values(
            plugin=item.plugin,
            distribution=item.distribution,
            version=item.version,
            runnable_from=item.runnable_from,
            upgraded_at=db_now(),
        )
    )


@contextlib.contextmanager
def _locked(engine: Engine, file: str | None, stop: Event) -> Iterator[None]:
    """Hold the migration lock: a lock file beside a SQLite database, an advisory lock on PostgreSQL.

    Both vanish with the process that holds them.
    """
    if file is not None:
        with _lock_file(Path(f"{file}.migrating")) as lock:
            while not _try_flock(lock):
                _pause(stop)
            yield
        return
    try:
        with engine.connect() as connection:
            while not _try_advisory_lock(connection):
                connection.rollback()
                _pause(stop)
            yield
    except SQLAlchemyError as error:
        raise translate(error) from error


def _pause(stop: Event) -> None:
    if stop.wait(POLL_SECONDS):
        raise StoreUnavailableError("the upgrade was given up while another node was at it")


def _try_flock(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _try_advisory_lock(connection: Connection) -> bool:
    """Try to take the lock, within a transaction, so that it holds behind a transaction-mode pooler too.

    Neither who waits nor who holds may have a snapshot open, or CREATE INDEX CONCURRENTLY in a migration would wait
    for it for ever: so nobody waits inside PostgreSQL, and the statement has no parameters, which makes psycopg send
    it by the simple protocol, whose portal does not stay open.
    """
    return bool(connection.exec_driver_sql(f"SELECT pg_try_advisory_xact_lock({LOCK})").scalar())


def _lock_file(path: Path) -> TextIO:
    try:
        return path.open("a")
    except OSError as error:
        raise StoreUnavailableError(
            f"{path} cannot be written: {error.strerror}", hint="check who owns the folder of the database"
        ) from error
