"""``nocohost plugins``: what is installed, what is active on a node that would start here, and why."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import click

from nocohost.api.errors import SettingError
from nocohost.api.keys import nearest
from nocohost.cli.inspection import Inspection, inspect_in_process, inspect_metadata
from nocohost.cli.output import PROBLEMS_FOUND, json_option, printable, show_json, show_table
from nocohost.cli.verbs import Verbs
from nocohost.node.settings import load_settings, read_mode
from nocohost.plugins.catalogue import read_catalogue

PREFIX = "nocohost."
COLUMNS = ("state", "group", "name", "distribution", "import", "reason")
LISTED = (
    "group",
    "name",
    "distribution",
    "version",
    "module",
    "state",
    "imported",
    "reason",
    "import_seconds",
)


@click.group(cls=Verbs)
def plugins() -> None:
    """Show what is installed, what WORKER_MODE makes of it, and what is wrong with it."""


@plugins.command("list")
@click.option("--no-load", is_flag=True, help="Read metadata only; import nothing.")
@json_option
def list_plugins(no_load: bool, as_json: bool) -> None:
    """List every entry point and its state on a node with this WORKER_MODE; loads them in a process of its own."""
    if no_load:
        catalogue = read_catalogue()
        entries: Sequence[Mapping[str, Any]] = [state.as_json() for state in inspect_metadata(catalogue)]
        _warn(catalogue.notices)
    else:
        found = _inspect()
        entries = found.entries
        _warn((*found.faults, *found.notices))
    if as_json:
        show_json([{name: entry[name] for name in LISTED} for entry in entries])
    elif entries:
        show_table(COLUMNS, [_line(entry) for entry in entries])
    else:
        click.echo("no plugin is installed beside nocohost")


@plugins.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show the entry points of NAME: a plugin, a service key, a distribution or an entry point.

    For each hook it tells whether it is active here, and which term of the worker mode decided; for a plugin that
    failed, the traceback.
    """
    found = _inspect()
    entries = [entry for entry in found.entries if name in _names(entry)]
    if not entries:
        suggestion = nearest(name, {known for entry in found.entries for known in _names(entry)})
        hint = f"; did you mean {suggestion}?" if suggestion else ""
        raise click.UsageError(f"nothing that is installed is called {name}{hint}")
    rows = [row for row in found.rows if any(_is_of(row, entry) for entry in entries)]
    if as_json:
        show_json({"mode": found.mode, "entries": entries, "hooks": rows})
        return
    click.echo(f"worker mode {found.mode}")
    for entry in entries:
        click.echo()
        _show_entry(entry, [row for row in rows if _is_of(row, entry)])


@plugins.command()
@json_option
@click.pass_context
def check(ctx: click.Context, as_json: bool) -> None:
    """Load what WORKER_MODE covers; exit 3 and list the faults when any entry point is quarantined.

    What is disabled because something is not installed is a warning.
    """
    found = _inspect()
    faults = [(SettingError.code, fault) for fault in found.faults]
    faults += [(entry["code"], _told(entry)) for entry in found.entries if entry["state"] == "quarantined"]
    warnings = [_told(entry) for entry in found.entries if entry["state"] == "disabled"] + [*found.notices]
    if as_json:
        show_json({"faults": [{"code": code, "message": message} for code, message in faults], "warnings": warnings})
    else:
        for line in [*(f"error    {message}" for _, message in faults), *(f"warning  {text}" for text in warnings)]:
            click.echo(printable(line))
        click.echo("problems found" if faults else "ok")
    if faults:
        ctx.exit(PROBLEMS_FOUND)


def _inspect() -> Inspection:
    # A wrong setting or mode is refused here, in the words and with the exit code of every other verb.
    read_mode(load_settings(os.environ).settings, read_catalogue().declared_keys)
    return inspect_in_process()


def _warn(notices: Sequence[str]) -> None:
    for notice in notices:
        click.echo(printable(f"warning: {notice}"), err=True)


def _names(entry: Mapping[str, Any]) -> set[str]:
    key = entry["name"].partition("/")[0] if entry["group"] == f"{PREFIX}extensions" else entry["name"]
    return {entry["name"], key, entry["plugin"], entry["distribution"]}


def _is_of(row: Mapping[str, Any], entry: Mapping[str, Any]) -> bool:
    return all(row[name] == entry[name] for name in ("group", "name", "distribution"))


def _told(entry: Mapping[str, Any]) -> str:
    return f"{entry['group']} {entry['name']} ({entry['distribution']} {entry['version']}): {entry['reason']}"


def _line(entry: Mapping[str, Any]) -> Sequence[object]:
    owner = f"{entry['distribution']} {entry['version']}"
    return (
        entry["state"],
        entry["group"].removeprefix(PREFIX),
        entry["name"],
        owner,
        _duration(entry),
        entry["reason"],
    )


def _duration(entry: Mapping[str, Any]) -> str:
    seconds = entry["import_seconds"]
    return "" if seconds is None else f"{seconds * 1000:.0f} ms"


def _show_entry(entry: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    click.echo(printable(f"{entry['group']} {entry['name']}"))
    fields = {
        "state": entry["state"],
        "reason": entry["reason"],
        "plugin": entry["plugin"],
        "declared by": f"{entry['distribution']} {entry['version']}",
        "module": entry["module"],
        "imported": "yes" if entry["imported"] else "no",
        "import took": _duration(entry),
    }
    for label, value in fields.items():
        if value:
            click.echo(printable(f"  {label:<11}  {value}"))
    for row in rows:
        label = "why" if not row["hook"] else "active" if row["active"] else "not active"
        why = "" if row["why"] == f"{entry['state']}: {entry['reason']}" else row["why"]  # the reason stands above
        told = ": ".join(part for part in (row["hook"], why) if part)
        if told:
            click.echo(printable(f"  {label:<11}  {told}"))
    if entry["trace"]:
        for line in entry["trace"].splitlines():
            click.echo(printable(f"    {line}"))
