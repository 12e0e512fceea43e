"""``nocohost jobs``: look at jobs, make one, and mend what went wrong."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from nocohost.api.errors import PayloadError
from nocohost.cli.job_values import read_instant, read_json, read_key
from nocohost.cli.many_jobs import one_or_many
from nocohost.cli.output import json_option, printable, show_json, show_table
from nocohost.cli.store import known_keys, open_store, wake_nodes
from nocohost.cli.verbs import Verbs
from nocohost.host.command import open_command_app
from nocohost.node.settings import load_settings
from nocohost.store.brief import write_briefly
from nocohost.store.explain import Explanation, explain_job
from nocohost.store.jobs import (
    JobPage,
    JobRow,
    cancel_job,
    drop_job,
    get_job,
    job_json,
    list_jobs,
    retry_job,
    show_enqueued,
)

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

Operation = Callable[["AsyncConnection", str], Awaitable[JobRow]]
STATES = ("pending", "running", "succeeded", "dead", "cancelled")


@click.group(cls=Verbs)
def jobs() -> None:
    """List, show, explain, enqueue, retry, cancel and drop jobs."""


@jobs.command("list")
@click.option("--key", callback=read_key, help="Only jobs of this service key.")
@click.option("--state", type=click.Choice(STATES), help="Only jobs in this state.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="How many at most.")
@click.option("--after", metavar="CURSOR", help="Go on after this cursor, which the page before has given.")
@json_option
def list_(key: str | None, state: str | None, limit: int, after: str | None, as_json: bool) -> None:
    """List jobs, newest first, those that are over included."""
    page = asyncio.run(_list(key, state, limit, after))
    if as_json:
        show_json([job_json(row) for row in page.items])
    else:
        columns = ("id", "key", "state", "attempts", "enqueued", "run at", "error")
        show_table(columns, [_cells(row) for row in page.items])
    if page.next is not None:
        click.echo(f"more: --after {page.next}", err=True)


@jobs.command()
@click.argument("job_id", metavar="ID")
@json_option
def show(job_id: str, as_json: bool) -> None:
    """Show one job, whether it is over or not."""
    _print(job_json(asyncio.run(_show(job_id))), as_json)


@jobs.command()
@click.argument("job_id", metavar="ID")
@json_option
def explain(job_id: str, as_json: bool) -> None:
    """Say why a job is not running, or where it is, with what to do about it."""
    told = asyncio.run(_explain(job_id)).as_json()
    if as_json:
        show_json(told)
        return
    click.echo(f"{told['id']} is {told['state']}")
    show_table(("reason", "what holds"), [(reason["code"], reason["message"]) for reason in told["reasons"]])


@jobs.command()
@click.argument("key")
@click.option("--payload", metavar="JSON", default="{}", callback=read_json, help="The payload, a JSON object.")
@click.option("--idempotency-key", metavar="TEXT", help="Make the job only once, however often this is run.")
@click.option("--run-at", metavar="INSTANT", callback=read_instant, help="Not before, such as 2030-01-31T12:00:00Z.")
@click.option("--priority", type=int, help="Lower runs first; default: the job type's.")
@click.option("--group", metavar="TEXT", help="Jobs of one group of a key run one at a time, in order.")
@json_option
def enqueue(
    key: str,
    payload: Any,
    idempotency_key: str | None,
    run_at: datetime | None,
    priority: int | None,
    group: str | None,
    as_json: bool,
) -> None:
    """Make one job under the service key KEY; its payload is checked as any node would."""
    options = {"idempotency_key": idempotency_key, "run_at": run_at, "priority": priority, "group": group}
    told = asyncio.run(_enqueue(key, payload, options))
    for warning in () if as_json else told["warnings"]:
        click.echo(printable(f"warning: {warning['message']}"), err=True)
    _print(told, as_json)


@jobs.command()
@one_or_many("retry")
def retry(job_id: str, as_json: bool) -> None:
    """Run a dead letter or a cancelled job again, with all its attempts; with --all every one that fits."""
    _print(job_json(asyncio.run(_operate(retry_job, job_id))), as_json)


@jobs.command()
@one_or_many("cancel")
def cancel(job_id: str, as_json: bool) -> None:
    """Cancel a pending job at once; ask the node of a running one to; with --all every one that fits."""
    row = asyncio.run(_operate(cancel_job, job_id))
    if row.cancel_requested and not as_json:
        click.echo(f"the node that runs it has been asked to end it; see: nocohost jobs explain {row.id}", err=True)
    _print(job_json(row), as_json)


@jobs.command()
@one_or_many("drop")
def drop(job_id: str, as_json: bool) -> None:
    """Remove a pending job or a dead letter for good; prints what it was; with --all every one that fits."""
    _print(job_json(asyncio.run(_operate(drop_job, job_id))), as_json)


async def _list(key: str | None, state: str | None, limit: int, after: str | None) -> JobPage:
    async with open_store(load_settings(os.environ).settings) as database, database.connect() as connection:
        return await list_jobs(connection, key=key, state=state, limit=limit, after=after)


async def _show(job_id: str) -> JobRow:
    async with open_store(load_settings(os.environ).settings) as database, database.connect() as connection:
        return await get_job(connection, job_id)


async def _explain(job_id: str) -> Explanation:
    settings = load_settings(os.environ).settings
    async with open_store(settings) as database, database.connect() as connection:
        return await explain_job(connection, job_id, known_keys(settings))


async def _operate(operation: Operation, job_id: str) -> JobRow:
    settings = load_settings(os.environ).settings
    async with open_store(settings) as database:
        row = await write_briefly(database, lambda connection: operation(connection, job_id))
        await wake_nodes(database, settings, row.key)
        return row


async def _enqueue(key: str, payload: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(payload, dict):
        raise PayloadError(f"the payload of {key} is no JSON object", hint="""write --payload '{"order": 1}'""")
    async with open_command_app(os.environ, sys.stderr) as app:
        job = await app.queue.enqueue(key, payload, **options)
        return await show_enqueued(app.database, job)


def _print(told: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        show_json(told)
        return
    show_table(
        ("field", "value"),
        [(name, _shown(value)) for name, value in told.items() if name != "warnings" and value is not None],
    )


def _cells(row: JobRow) -> Sequence[object]:
    told = job_json(row)
    state = "orphan" if row.orphan else row.state.value
    error = (row.last_error or "").splitlines()
    shown_error = error[0][:60] if error else ""
    return (row.id, row.key, state, row.attempts, told["enqueued_at"], told["run_at"], shown_error)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
