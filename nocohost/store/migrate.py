"""Compare the schema with what the code wants, and bring it there; Alembic is imported only when there is work."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from threading import Event
from typing import Any

from packaging.version import Version
from sqlalchemy import bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.api.errors import NocohostError, SchemaVersionError
from nocohost.store.database import SqlDatabase
from nocohost.store.revisions import CORE, MigrationSet
from nocohost.store.schema import migrations
from nocohost.store.upgrade import upgrade_under_lock


class SchemaState(StrEnum):
    """Where the database stands, seen from one migration set.

    ``newer`` was migrated by a later version that still lets this one run; ``too_new`` was migrated by one that does
    not; ``absent`` is in the database while its plugin is not installed.
    """

    CURRENT = "current"
    BEHIND = "behind"
    NEWER = "newer"
    TOO_NEW = "too_new"
    ABSENT = "absent"


@dataclass(frozen=True)
class SchemaStatus:
    """The schema of one plugin: ``head`` is the code's last revision, ``found`` the database's."""

    plugin: str
    state: SchemaState
    head: str | None
    found: str | None
    version: str = ""
    """The version installed here, or "" when the plugin is not installed."""
    migrated_by: str = ""
    """The version that migrated last."""
    runnable_from: str = ""
    """The oldest version that may run on the schema as it is."""


async def schema_status(database: SqlDatabase, sets: Sequence[MigrationSet]) -> list[SchemaStatus]:
    """Compare the database with the installed migration sets, in their order; sets of absent plugins come last."""
    async with database.connect() as connection:
        tables = await _tables(connection, [migrations.name, *(item.version_table for item in sets)])
        rows: dict[str, Any] = {}
        if migrations.name in tables:
            rows = {row.plugin: row for row in await connection.execute(select(migrations))}
        found = {item.plugin: await _revision(connection, item, tables) for item in sets}
    installed = [_judge(item, found[item.plugin], rows.get(item.plugin)) for item in sets]
    absent = [
        SchemaStatus(name, SchemaState.ABSENT, None, None, "", row.version, row.runnable_from)
        for name, row in sorted(rows.items())
        if name not in found
    ]
    return installed + absent


async def upgrade(database: SqlDatabase, sets: Sequence[MigrationSet]) -> dict[str, NocohostError]:
    """Apply what is missing, one set after the other; return why sets of plugins failed.

    Waits for its turn when another node is at it. A plugin's set that fails is rolled back to its last whole revision
    and leaves the others alone; a failure of the core's own set is raised.
    """
    stop = Event()
    try:
        return await asyncio.to_thread(upgrade_under_lock, database, sets, stop)
    finally:
        stop.set()  # cancelled: the thread must not keep the process while another node migrates


async def ensure_schema(
    database: SqlDatabase, sets: Sequence[MigrationSet], *, upgrade_allowed: bool
) -> dict[str, NocohostError]:
    """Do what a start must do: upgrade what is behind, and refuse to run on what does not fit.

    Returns, for each plugin whose schema does not fit, the reason; the host quarantines it. Raises
    ``SchemaVersionError`` when the core's own schema is behind and may not be upgraded, or is too new.
    """
    failures: dict[str, NocohostError] = {}
    statuses = await schema_status(database, sets)
    for status in statuses:
        if status.plugin == CORE and status.state is SchemaState.TOO_NEW:
            raise too_new(status)
    if upgrade_allowed and any(status.state is SchemaState.BEHIND for status in statuses):
        failures = await upgrade(database, sets)
        statuses = await schema_status(database, sets)
    for status in statuses:
        fault = _fault(status)
        if fault is not None:
            if status.plugin == CORE:
                raise fault
            failures.setdefault(status.plugin, fault)
    return failures


def _fault(status: SchemaStatus) -> SchemaVersionError | None:
    if status.state is SchemaState.BEHIND:
        return SchemaVersionError(
            f"the schema of {status.plugin} is at {status.found or 'nothing'}, this version needs {status.head}",
            hint="run: nocohost db upgrade",
        )
    return too_new(status) if status.state is SchemaState.TOO_NEW else None


def too_new(status: SchemaStatus) -> SchemaVersionError:
    """Return the error that says which version has written the schema, and from which on it may be used."""
    return SchemaVersionError(
        f"the schema of {status.plugin} was written by version {status.migrated_by} and runs from version "
        f"{status.runnable_from} on; this is {status.version}",
        hint="install a newer version",
    )


def _judge(item: MigrationSet, found: str | None, row: Any) -> SchemaStatus:
    known = item.revisions()
    head = item.head()
    by, runnable_from = (row.version, row.runnable_from) if row is not None else ("", "")
    if found == head:
        state = SchemaState.CURRENT
    elif found is None or found in known:
        state = SchemaState.BEHIND
    elif runnable_from and Version(item.version) >= Version(runnable_from):
        state = SchemaState.NEWER
    else:
        state = SchemaState.TOO_NEW
    return SchemaStatus(item.plugin, state, head, found, item.version, by, runnable_from)


async def _tables(connection: AsyncConnection, names: Sequence[str]) -> set[str]:
    if connection.dialect.name == "sqlite":
        query = text("SELECT name FROM sqlite_master WHERE type = 'table' AND name IN :names")
    else:
        query = text("SELECT relname FROM pg_class WHERE relname IN :names AND pg_table_is_visible(oid)")
    result = await connection.scalars(query.bindparams(bindparam("names", list(names), expanding=True)))
    return set(result)


async def _revision(connection: AsyncConnection, item: MigrationSet, tables: set[str]) -> str | None:
    if item.version_table not in tables:
        return None
    found = await connection.scalar(text(f'SELECT version_num FROM "{item.version_table}"'))  # noqa: S608 - checked name
    return str(found) if found is not None else None
