"""``nocohost queue``: the queue of each service key; pause one in the whole cluster, drain it, let it go on."""

import asyncio
import getpass
import os
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from nocohost.cli.duration import read_duration
from nocohost.cli.job_values import read_key
from nocohost.cli.output import FAILED, json_option, printable, show_json, show_table
from nocohost.cli.store import known_keys, open_store, wake_nodes
from nocohost.cli.verbs import Verbs
from nocohost.node.settings import Settings, load_settings
from nocohost.store.coverage import KeyCoverage, queue_json, read_coverage
from nocohost.store.database import SqlDatabase
from nocohost.store.keys import (
    DRAIN_SECONDS,
    count_released,
    count_running,
    drain_key,
    pause_key,
    require_key,
    resume_key,
)

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

LOOK_SECONDS = 0.25
RELEASE_SECONDS = 5.0
"""How long past its deadline a drain is waited for: nodes release within moments of it."""
COLUMNS = ("key", "state", "nodes", "pending", "due", "running", "orphans", "oldest", "paused by")


@dataclass(frozen=True, slots=True)
class Drained:
    """What came of the jobs that ran when a drain began."""

    queue: KeyCoverage
    held: int
    released: int


@click.group(cls=Verbs)
def queue() -> None:
    """List the queues; pause, resume or drain one."""


@queue.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the queue of each service key that is installed here, has jobs, or was ever served."""
    rows = asyncio.run(_list())
    if as_json:
        show_json([queue_json(row) for row in rows])
    else:
        show_table(COLUMNS, [_cells(row) for row in rows])


@queue.command()
@click.argument("key", callback=read_key)
@json_option
def pause(key: str, as_json: bool) -> None:
    """Let no node claim jobs of KEY from now on; what runs goes on."""
    row = asyncio.run(_operate(key, lambda connection: pause_key(connection, key, who())))
    _show(row, f"{key} is paused by {row.row.paused_by}; {row.running} of its jobs run on", as_json=as_json)


@queue.command()
@click.argument("key", callback=read_key)
@json_option
def resume(key: str, as_json: bool) -> None:
    """Let the nodes claim jobs of KEY again."""
    row = asyncio.run(_operate(key, lambda connection: resume_key(connection, key), wakes=True))
    _show(row, f"{key} goes on, {row.state}; {row.due} jobs are due", as_json=as_json)


@queue.command()
@click.argument("key", callback=read_key)
@click.option(
    "--within",
    "seconds",
    metavar="DURATION",
    callback=read_duration,
    help=f"How long what runs may go on, such as 25s or 5m; default {DRAIN_SECONDS:g}s.",
)
@json_option
@click.pass_context
def drain(ctx: click.Context, key: str, seconds: int | None, as_json: bool) -> None:
    """Pause KEY, wait for the jobs that run, and have the rest released, uncharged; exit 1 when some run on.

    The key stays paused until it is resumed.
    """
    done = asyncio.run(_drain(key, DRAIN_SECONDS if seconds is None else seconds))
    ended = done.held - done.released - done.queue.running
    if as_json:
        show_json({**queue_json(done.queue), "ended": max(ended, 0), "released": done.released})
    else:
        counts = f"{max(ended, 0)} jobs ended, {done.released} were released, {done.queue.running} run on"
        click.echo(printable(f"{key} is drained: {counts}; it stays paused"))
    if done.queue.running:
        ctx.exit(FAILED)


def who() -> str:
    """Return who gives a command, as far as this machine knows."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        name = f"uid {os.getuid()}"
    return f"{name}@{socket.gethostname()}"


async def _list() -> Sequence[KeyCoverage]:
    settings = load_settings(os.environ).settings
    async with open_store(settings) as database, database.connect() as connection:
        return await read_coverage(connection, known_keys(settings))


async def _operate(
    key: str, operate: "Callable[[AsyncConnection], Awaitable[object]]", *, wakes: bool = False
) -> KeyCoverage:
    settings = load_settings(os.environ).settings
    async with open_store(settings) as database:
        async with database.begin() as connection:
            await require_key(connection, key, known_keys(settings))
            await operate(connection)
        if wakes:
            await wake_nodes(database, settings, key)
        return await _queue(database, key, settings)


async def _drain(key: str, seconds: float) -> Drained:
    settings = load_settings(os.environ).settings
    async with open_store(settings) as database:
        async with database.begin() as connection:
            await require_key(connection, key, known_keys(settings))
            held = await drain_key(connection, key, who(), within_seconds=seconds)
        until = time.monotonic() + seconds + RELEASE_SECONDS
        while time.monotonic() < until:
            async with database.connect() as connection:
                if not await count_running(connection, key):
                    break
            await asyncio.sleep(LOOK_SECONDS)
        found = await _queue(database, key, settings)
        async with database.connect() as connection:
            return Drained(found, len(held), await count_released(connection, held))


async def _queue(database: SqlDatabase, key: str, settings: Settings) -> KeyCoverage:
    async with database.connect() as connection:
        found = await read_coverage(connection, {key: "", **known_keys(settings)})
    return next(one for one in found if one.key == key)


def _show(row: KeyCoverage, sentence: str, *, as_json: bool) -> None:
    if as_json:
        show_json(queue_json(row))
    else:
        click.echo(printable(sentence))


def _cells(row: KeyCoverage) -> Sequence[Any]:
    oldest = f"{row.oldest_seconds:.0f} s" if row.due else None
    paused_by = row.row.paused_by if row.row.paused_at is not None else None
    counts = (row.pending, row.due, row.running, row.orphans)
    return (row.key, row.state, len(row.nodes), *counts, oldest, paused_by)
