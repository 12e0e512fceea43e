"""``nocohost db``: the schema of the database, nocohost's own and that of each plugin."""

import asyncio
import os
from collections.abc import Mapping
from typing import Any

import click

from nocohost.api.errors import NocohostError
from nocohost.cli.duration import read_duration
from nocohost.cli.output import FAILED, PROBLEMS_FOUND, json_option, printable, show_json, show_table
from nocohost.cli.store import installed_sets, open_store, reach_database
from nocohost.cli.verbs import Verbs
from nocohost.node.settings import load_settings
from nocohost.store.migrate import SchemaState, SchemaStatus, schema_status, too_new
from nocohost.store.migrate import upgrade as upgrade_schema
from nocohost.store.retention import Superfluous, count_superfluous
from nocohost.store.retention import purge as purge_store

UNREADABLE = "unreadable"
FITS = frozenset({SchemaState.CURRENT, SchemaState.NEWER, SchemaState.ABSENT})
Report = tuple[list[SchemaStatus], Mapping[str, NocohostError]]
"""Where each set stands, and why some of them failed."""


@click.group(cls=Verbs)
def db() -> None:
    """Upgrade the database, show its state, or purge it."""


@db.command()
@json_option
@click.pass_context
def upgrade(ctx: click.Context, as_json: bool) -> None:
    """Apply every migration that is missing; wait when another node is at it.

    Exit 1 when one of a plugin fails, or when a schema was written by a version that this one may not run beside.

    It does so whatever database.upgrade says, which is about the start of nodes.
    """
    statuses, failures = asyncio.run(_upgrade())
    _show(statuses, failures, as_json=as_json)
    if failures or any(one.state not in FITS for one in statuses):
        ctx.exit(FAILED)


@db.command()
@json_option
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Show where each schema stands, changing nothing; exit 3 when one does not fit what is installed."""
    statuses, failures = asyncio.run(_status())
    _show(statuses, failures, as_json=as_json)
    if failures or any(one.state not in FITS for one in statuses):
        ctx.exit(PROBLEMS_FOUND)


@db.command()
@click.option(
    "--older-than",
    metavar="DURATION",
    callback=read_duration,
    help="Remove jobs that have been over for so long, such as 30d or 12h; default: queue.history_seconds.",
)
@click.option("--dry-run", is_flag=True, help="Only count what would be removed.")
@json_option
def purge(older_than: int | None, dry_run: bool, as_json: bool) -> None:
    """Remove what is past its time: jobs that are over, idempotency keys, ticks, rows of nodes long gone.

    Nodes do so every minute; this does it now. Dead letters stay until somebody retries or drops them.
    """
    found = asyncio.run(_purge(older_than, dry_run=dry_run))._asdict()
    if as_json:
        show_json({**found, "removed": not dry_run})
        return
    show_table(
        ["what", "would be removed" if dry_run else "removed"], [(k.replace("_", " "), v) for k, v in found.items()]
    )


async def _purge(older_than: int | None, *, dry_run: bool) -> Superfluous:
    settings = load_settings(os.environ).settings
    seconds = settings.queue.history_seconds if older_than is None else float(older_than)
    async with open_store(settings) as database:
        if dry_run:
            return await count_superfluous(database, history_seconds=seconds)
        return await purge_store(database, history_seconds=seconds)


async def _upgrade() -> Report:
    installed = installed_sets()
    async with reach_database(load_settings(os.environ).settings) as database:
        failures = await upgrade_schema(database, installed.sets)
        return await schema_status(database, installed.sets), {**installed.failures, **failures}


async def _status() -> Report:
    installed = installed_sets()
    async with reach_database(load_settings(os.environ).settings) as database:
        return await schema_status(database, installed.sets), installed.failures


def _show(statuses: list[SchemaStatus], failures: Mapping[str, NocohostError], *, as_json: bool) -> None:
    rows = [_as_json(one, failures.get(one.plugin) or _misfit(one)) for one in statuses]
    rows += [_unread(plugin, error) for plugin, error in failures.items() if plugin not in {r["plugin"] for r in rows}]
    if as_json:
        show_json(rows)
        return
    columns = ("plugin", "state", "found", "head", "version", "migrated_by", "runnable_from")
    show_table([name.replace("_", " ") for name in columns], [[row[name] for name in columns] for row in rows])
    for row in rows:
        if row["reason"]:
            click.echo(printable(f"{row['plugin']}: {row['reason']}"), err=True)


def _misfit(one: SchemaStatus) -> NocohostError | None:
    return too_new(one) if one.state is SchemaState.TOO_NEW else None


def _as_json(one: SchemaStatus, error: NocohostError | None) -> dict[str, Any]:
    return {
        "plugin": one.plugin,
        "state": one.state.value,
        "found": one.found,
        "head": one.head,
        "version": one.version or None,
        "migrated_by": one.migrated_by or None,
        "runnable_from": one.runnable_from or None,
        "reason": None if error is None else str(error),
    }


def _unread(plugin: str, error: NocohostError) -> dict[str, Any]:
    row = _as_json(SchemaStatus(plugin, SchemaState.ABSENT, None, None), error)
    return row | {"state": UNREADABLE}
