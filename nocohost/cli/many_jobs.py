"""Verbs that change one job by its id, or all that fit a filter: ``jobs retry``, ``jobs cancel``, ``jobs drop``."""

import asyncio
import functools
import os
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import click

from nocohost.api.job import JobState
from nocohost.cli.job_values import read_instant, read_key
from nocohost.cli.output import FAILED, json_option, show_json
from nocohost.cli.store import known_keys, open_store, wake_nodes
from nocohost.node.settings import load_settings
from nocohost.store.job_filter import REASONS, STATES, Changed, JobFilter, change_jobs
from nocohost.store.keys import require_key

DONE: Mapping[str, str] = {"retry": "retried", "cancel": "cancelled or asked to stop", "drop": "dropped"}
WITH_ALL = ("key", "state", "before", "dry_run", "yes")
Verb = Callable[[str, bool], None]


def one_or_many(operation: str) -> Callable[[Verb], Callable[..., None]]:
    """Give a verb the argument ID, or ``--all`` with a filter; the verb itself is called for one job only."""
    states = click.Choice([state.value for state in STATES[operation]])
    options = (
        click.argument("job_id", metavar="[ID]", required=False),
        click.option("--all", "every", is_flag=True, help="Instead of one job, every one of --key in --state."),
        click.option("--key", callback=read_key, help="With --all: the service key."),
        click.option("--state", type=states, help="With --all: the state that the jobs are in."),
        click.option(
            "--before",
            metavar="INSTANT",
            callback=read_instant,
            help="With --all: only jobs that ended, or if not over were enqueued, before.",
        ),
        click.option("--dry-run", is_flag=True, help="With --all: only count them."),
        click.option("--yes", is_flag=True, help="With --all: do not ask."),
        json_option,
    )

    def decorate(verb: Verb) -> Callable[..., None]:
        def run(ctx: click.Context, /, job_id: str | None, every: bool, as_json: bool, **chosen: Any) -> None:
            given = [name for name in WITH_ALL if chosen[name]]
            if every and job_id is not None:
                raise click.UsageError("give the ID of a job or --all, not both")
            if given and not every:
                raise click.UsageError(f"--{given[0].replace('_', '-')} goes with --all")
            if every:
                _change(ctx, operation, as_json=as_json, **chosen)
            elif job_id is None:
                raise click.UsageError("give the ID of a job, or --all with --key and --state")
            else:
                verb(job_id, as_json)

        command: Callable[..., None] = functools.update_wrapper(click.pass_context(run), verb)
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _change(
    ctx: click.Context,
    operation: str,
    *,
    key: str | None,
    state: str | None,
    before: datetime | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    if key is None or state is None:
        raise click.UsageError("--all needs --key and --state")
    wanted = JobFilter(key, JobState(state), before)
    if not (dry_run or yes):
        _ask(operation, wanted)
    told = asyncio.run(_run(operation, wanted, dry_run=dry_run))
    if as_json:
        show_json(told.as_json())
    elif dry_run:
        click.echo(f"{told.matched} jobs would be {DONE[operation]}")
    else:
        click.echo(f"{told.changed} of {told.matched} jobs {DONE[operation]}")
        for code, count in (("moved", told.moved), ("busy", told.busy)):
            if count:
                click.echo(f"{count} were not: {REASONS[code]}", err=True)
    if told.moved or told.busy:
        ctx.exit(FAILED)


def _ask(operation: str, wanted: JobFilter) -> None:
    if not sys.stdin.isatty():
        raise click.UsageError(f"say --yes to {operation} many jobs, or --dry-run to count them")
    told = asyncio.run(_run(operation, wanted, dry_run=True))
    click.confirm(f"{operation} {told.matched} jobs of {wanted.key} that are {wanted.state}?", abort=True, err=True)


async def _run(operation: str, wanted: JobFilter, *, dry_run: bool) -> Changed:
    settings = load_settings(os.environ).settings
    async with open_store(settings) as database:
        async with database.connect() as connection:
            await require_key(connection, wanted.key, known_keys(settings))
        told = await change_jobs(database, operation, wanted, dry_run=dry_run)
        if told.changed:
            await wake_nodes(database, settings, wanted.key)
        return told
