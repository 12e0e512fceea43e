"""``nocohost schedules``: look at schedules, run one now, pause and resume them."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from nocohost.cli.job_values import read_key
from nocohost.cli.output import json_option, printable, show_json, show_table
from nocohost.cli.store import open_store, wake_nodes
from nocohost.cli.verbs import Verbs
from nocohost.host.command import open_command_app
from nocohost.node.settings import load_settings
from nocohost.store.hints import SCHEDULE
from nocohost.store.jobs import show_enqueued
from nocohost.store.schedules import (
    SchedulePage,
    ScheduleRow,
    get_schedule,
    list_schedules,
    pause_schedule,
    resume_schedule,
    schedule_json,
)

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

Operation = Callable[["AsyncConnection", str], Awaitable[ScheduleRow]]


@click.group(cls=Verbs)
def schedules() -> None:
    """List, run, pause and resume schedules."""


@schedules.command("list")
@click.option("--key", callback=read_key, help="Only schedules of this service key.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="How many at most.")
@click.option("--after", metavar="CURSOR", help="Go on after this cursor, which the page before has given.")
@json_option
def list_(key: str | None, limit: int, after: str | None, as_json: bool) -> None:
    """List schedules by name, those in code and those in the database, with their next tick."""
    page = asyncio.run(_list(key, limit, after))
    if as_json:
        show_json([schedule_json(row) for row in page.items])
    else:
        columns = ("name", "key", "state", "source", "next tick", "last tick", "when")
        show_table(columns, [_cells(row) for row in page.items])
    if page.next is not None:
        click.echo(f"more: --after {page.next}", err=True)


@schedules.command()
@click.argument("name")
@json_option
def run(name: str, as_json: bool) -> None:
    """Make one job of the schedule NAME now, beside its ticks; a paused one too."""
    told = asyncio.run(_run(name))
    if as_json:
        show_json(told)
        return
    for warning in told["warnings"]:
        click.echo(printable(f"warning: {warning['message']}"), err=True)
    show_table(("field", "value"), [(field, told[field]) for field in ("id", "key", "state", "run_at")])


@schedules.command()
@click.argument("name")
@json_option
def pause(name: str, as_json: bool) -> None:
    """Let the schedule NAME make no more jobs until it is resumed."""
    _print(asyncio.run(_operate(pause_schedule, name)), as_json)


@schedules.command()
@click.argument("name")
@json_option
def resume(name: str, as_json: bool) -> None:
    """Let the schedule NAME tick again from now on; what it missed meanwhile is dropped."""
    _print(asyncio.run(_resume(name)), as_json)


async def _list(key: str | None, limit: int, after: str | None) -> SchedulePage:
    async with open_store(load_settings(os.environ).settings) as database, database.connect() as connection:
        return await list_schedules(connection, key=key, limit=limit, after=after)


async def _operate(operation: Operation, name: str) -> ScheduleRow:
    async with open_store(load_settings(os.environ).settings) as database, database.begin() as connection:
        return await operation(connection, name)


async def _resume(name: str) -> ScheduleRow:
    settings = load_settings(os.environ).settings
    async with open_store(settings) as database:
        async with database.begin() as connection:
            row = await resume_schedule(connection, name)
        await wake_nodes(database, settings, name, topic=SCHEDULE)
    return row


async def _run(name: str) -> dict[str, Any]:
    async with open_command_app(os.environ, sys.stderr) as app:
        async with app.database.connect() as connection:
            schedule = await get_schedule(connection, name)
        job = await app.queue.enqueue(schedule.key, schedule.payload)
        return await show_enqueued(app.database, job)


def _print(row: ScheduleRow, as_json: bool) -> None:
    told = schedule_json(row)
    if as_json:
        show_json(told)
    else:
        show_table(("field", "value"), [(field, value) for field, value in told.items() if value is not None])


def _cells(row: ScheduleRow) -> Sequence[object]:
    told = schedule_json(row)
    return [told[field] for field in ("name", "key", "state", "source", "next_at", "last_at", "description")]
