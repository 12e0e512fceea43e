"""``nocohost doctor``: what may be wrong with this machine, the database and the cluster, and what to do about it."""

import asyncio
import os
import sys
from collections.abc import Iterator, Sequence

import click

from nocohost.api.errors import NocohostError
from nocohost.cli.inspection import inspect_in_process
from nocohost.cli.output import PROBLEMS_FOUND, json_option, printable, show_json
from nocohost.cli.store import installed_sets
from nocohost.host.doctor import OK, PROBLEM, WARNING, Finding, examine_database, examine_folder, failed
from nocohost.host.log import make_log
from nocohost.node.clock import SystemClock
from nocohost.node.settings import Settings, load_settings, read_mode
from nocohost.plugins.catalogue import read_catalogue
from nocohost.plugins.lookalikes import lookalikes
from nocohost.store.database import open_database


@click.command()
@json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Examine plugins, database, nodes and queues, changing nothing; exit 3 when there is a problem.

    Warnings alone are no problem. The database is not waited for.
    """
    settings = load_settings(os.environ).settings
    findings = [*_plugins(settings), examine_folder(settings), *asyncio.run(_database(settings))]
    problems = sum(one.level == PROBLEM for one in findings)
    warnings = sum(one.level == WARNING for one in findings)
    if as_json:
        told = [one.as_json() for one in findings]
        show_json({"problems": problems, "warnings": warnings, "findings": told})
    else:
        for one in findings:
            click.echo(printable(f"{one.level:<8} {one.check:<13} {one.message}"))
            if one.hint and one.level != OK:
                click.echo(printable(f"{'':<22} {one.hint}"))
        click.echo(f"{problems} problems, {warnings} warnings" if problems or warnings else "all is well")
    if problems:
        ctx.exit(PROBLEMS_FOUND)


async def _database(settings: Settings) -> Sequence[Finding]:
    try:
        installed = installed_sets()
        database = open_database(
            settings.database_url,
            clock=SystemClock(),
            log=make_log(sys.stderr, level=settings.log.level, form=settings.log.format),
            synchronous=settings.database.synchronous,
            pool_size=settings.database.pool_size,
        )
    except NocohostError as error:
        return [failed("database", error)]
    unreadable = [failed("schema", error) for error in installed.failures.values()]
    declared = {**dict.fromkeys(settings.external_keys, ""), **read_catalogue().key_owners}
    try:
        return [*unreadable, *await examine_database(database, settings, installed.sets, declared, clock=SystemClock())]
    finally:
        await database.close()


def _plugins(settings: Settings) -> Iterator[Finding]:
    """Load what the mode covers, as ``plugins list`` does, and tell of what is at fault."""
    try:
        # What is refused is told in its own words here, not by the end of a process.
        read_mode(settings, read_catalogue().declared_keys)
        found = inspect_in_process()
    except NocohostError as error:
        yield failed("plugins", error)
        return
    entries = [(f"{entry['group']} {entry['name']} of {entry['distribution']}", entry) for entry in found.entries]
    for named, entry in entries:
        if entry["state"] in {"quarantined", "disabled"}:
            level = PROBLEM if entry["state"] == "quarantined" else WARNING
            hint = f"nocohost plugins show {entry['plugin']}"
            yield Finding("plugins", level, f"{named} is {entry['state']}: {entry['reason']}", hint)
    for fault in found.faults:
        yield Finding("plugins", PROBLEM, fault, "nocohost config show tells where each value comes from")
    for name in lookalikes():
        message = f"{name} looks like a plugin, and has no entry point of nocohost's: no node sees it"
        yield Finding(
            "plugins", WARNING, message, "mend its packaging, or install it anew after a change of entry points"
        )
    if not any(entry["state"] == "quarantined" for _, entry in entries):
        active = sum(entry["state"] == "active" for _, entry in entries)
        yield Finding(
            "plugins", OK, f"mode {found.mode}: {active} of {len(entries)} entry points active, none quarantined"
        )
