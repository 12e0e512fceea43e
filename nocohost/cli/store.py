"""The database for verbs: reached, and upgraded under the same rule as at a node's start."""

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import click

from nocohost.api.errors import PluginError
from nocohost.cli.output import printable
from nocohost.host.log import make_log
from nocohost.node.clock import SystemClock
from nocohost.node.settings import Settings
from nocohost.plugins.catalogue import read_catalogue
from nocohost.plugins.entry import MIGRATIONS
from nocohost.store.database import SqlDatabase, open_database
from nocohost.store.hints import JOB, make_hints
from nocohost.store.migrate import ensure_schema
from nocohost.store.revisions import MigrationSet, core_migrations, migration_sets


@dataclass(frozen=True, slots=True)
class InstalledSets:
    """The migration sets of this environment, the core's first, and the plugins whose set cannot be read."""

    sets: tuple[MigrationSet, ...]
    failures: dict[str, PluginError]


def installed_sets() -> InstalledSets:
    """Read what is installed; imports no plugin."""
    sets, failures = migration_sets(read_catalogue().in_group(MIGRATIONS))
    return InstalledSets((core_migrations(), *sets), failures)


@asynccontextmanager
async def reach_database(settings: Settings) -> AsyncIterator[SqlDatabase]:
    """Open the database, wait until it answers, and close it at the end of the block; its schema is left alone.

    Raises ``StoreUnavailableError`` when it does not answer in time, ``ConfigError`` when waiting cannot help.
    """
    database = open_database(
        settings.database_url,
        clock=SystemClock(),
        log=make_log(sys.stderr, level=settings.log.level, form=settings.log.format),
        synchronous=settings.database.synchronous,
        pool_size=settings.database.pool_size,
    )
    try:
        await database.wait(settings.database.wait_seconds)
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[SqlDatabase]:
    """Open the database as ``reach_database`` does, and upgrade it under the start-up rule.

    A plugin whose schema does not fit is named on stderr and does no harm; a misfit of nocohost's own schema raises
    ``SchemaVersionError``.
    """
    async with reach_database(settings) as database:
        installed = installed_sets()
        unfit = await ensure_schema(database, installed.sets, upgrade_allowed=settings.database.upgrade)
        for plugin, error in {**installed.failures, **unfit}.items():
            click.echo(printable(f"warning: migrations of {plugin}: {error}"), err=True)
        yield database


def known_keys(settings: Settings) -> Mapping[str, str]:
    """Return every service key that is known here: with the distribution that offers it, "" for an external one."""
    return {**dict.fromkeys(settings.external_keys, ""), **read_catalogue().key_owners}


async def wake_nodes(database: SqlDatabase, settings: Settings, name: str, *, topic: str = JOB) -> None:
    """Have the nodes that serve the key ``name`` look for work now, or with another topic what it says.

    Call it after the commit.

    A hint that is lost costs them no more than one poll, so nothing is raised.
    """
    log = make_log(sys.stderr, level=settings.log.level, form=settings.log.format)
    hints = make_hints(database, clock=SystemClock(), log=log)
    await hints.start()
    hints.send(topic, name)
    await hints.stop()
