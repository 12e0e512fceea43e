"""``nocohost task ...``: start, watch, cancel and download tasks on the database; loaded only when it is called."""

import json
import sys
from asyncio import CancelledError
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from builtin_plugins.async_task.desk import OPERATE, Desk, NewTask
from builtin_plugins.async_task.error_file import error_csv
from builtin_plugins.async_task.errors import TaskConflictError
from builtin_plugins.async_task.listing import ListQuery, list_page
from builtin_plugins.async_task.local_file import OutputFile, upload_file, write_file
from builtin_plugins.async_task.progress_bar import display, progress_text
from builtin_plugins.async_task.records import STATES
from builtin_plugins.async_task.standing import Standing
from builtin_plugins.async_task.stream import Watch
from builtin_plugins.async_task.view import task_json
from nocohost import App, NocohostError, PayloadError, Principal, StoreError, pass_app

OPERATOR = Principal("cli", frozenset({OPERATE}))
"""Whoever has the database may do everything; tasks started here belong to this principal unless said otherwise."""
F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def task() -> None:
    """Start, watch, cancel and download tasks."""


def start_options(command: F) -> F:
    """Add the options of every verb that starts a task."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print the task as JSON."),
        click.option("--watch", is_flag=True, help="Show its progress until it is over; exit 1 unless it succeeds."),
        click.option("--owner", default=OPERATOR.id, show_default=True, help="Id of the principal it belongs to."),
        click.option("--title", help="What to call it."),
        click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="Any other param; JSON or text."),
    ):
        command = option(command)
    return command


@task.command()
@click.argument("kind")
@click.option("--file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="The file it works on.")
@start_options
@pass_app
async def start(app: App, kind: str, file: Path | None, **options: Any) -> None:
    """Start a task of any kind."""
    await begin(app, kind, {}, file, **options)


@task.command("export")
@click.argument("resource")
@click.option("--format", "form", default="csv", show_default=True, help="csv, xlsx, jsonl or parquet.")
@click.option("--filter", "condition", help="Which records, as the JSON of a filter.")
@click.option("--sort", help="Fields to sort by, as in -total,id.")
@click.option("--fields", help="Which fields, as in id,total.")
@click.option("--output", type=OutputFile(), help="Watch, and write the file here.")
@start_options
@pass_app
async def export_(
    app: App,
    resource: str,
    form: str,
    condition: str | None,
    sort: str | None,
    fields: str | None,
    output: Path | None,
    **options: Any,
) -> None:
    """Export the records of a resource to a file."""
    params: dict[str, Any] = {"resource": resource, "format": form}
    if condition is not None:
        params["filter"] = _value(condition)
    if sort is not None:
        params["sort"] = sort
    if fields is not None:
        params["fields"] = [field.strip() for field in fields.split(",")]
    await begin(app, "export", params, None, output=output, **options)


@task.command("import")
@click.argument("resource")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--format", "form", help="csv, xlsx or jsonl; unset: by the file.")
@click.option("--mode", help="insert, skip, update or upsert.")
@click.option("--key", "keys", multiple=True, metavar="FIELD", help="A field that records are told apart by.")
@click.option("--dry-run", is_flag=True, help="Check everything, and change nothing.")
@start_options
@pass_app
async def import_(
    app: App,
    resource: str,
    file: Path,
    form: str | None,
    mode: str | None,
    keys: tuple[str, ...],
    dry_run: bool,
    **options: Any,
) -> None:
    """Import a file into a resource."""
    params: dict[str, Any] = {"resource": resource}
    given = {"format": form, "mode": mode, "key": list(keys) or None, "dry_run": dry_run or None}
    params |= {name: value for name, value in given.items() if value is not None}
    await begin(app, "import", params, file, **options)


@task.command("list")
@click.option("--state", type=click.Choice(STATES), help="Only tasks in this state.")
@click.option("--kind", help="Only tasks of this kind.")
@click.option("--owner", help="Only tasks of this principal.")
@click.option("--limit", type=click.IntRange(1, 200), default=100, show_default=True, help="How many, newest first.")
@click.option("--json", "as_json", is_flag=True, help="Print the tasks as a JSON list.")
@pass_app
async def list_(app: App, state: str | None, kind: str | None, owner: str | None, limit: int, as_json: bool) -> None:
    """List tasks, newest first."""
    query = ListQuery(limit=limit, kind=kind, state=state, owner=owner)
    if fault := query.fault():
        raise click.UsageError(fault)
    items, _ = await list_page(app, query)
    if as_json:
        click.echo(json.dumps([task_json(one) for one in items], indent=2))
        return
    for one in items:
        click.echo(_line(task_json(one)))


@task.command()
@click.argument("task_id")
@click.option("--json", "as_json", is_flag=True, help="Print the task as JSON.")
@pass_app
async def show(app: App, task_id: str, as_json: bool) -> None:
    """Show one task."""
    show_task(await Desk(app).find(task_id, OPERATOR), as_json=as_json)


@task.command()
@click.argument("task_id")
@click.option("--json", "as_json", is_flag=True, help="Print the task as JSON once it is over.")
@pass_app
async def watch(app: App, task_id: str, as_json: bool) -> None:
    """Show the progress of a task until it is over; exit 1 unless it succeeds."""
    standing = await follow(app, await Desk(app).find(task_id, OPERATOR))
    show_task(standing, as_json=as_json)
    require_success(standing)


@task.command()
@click.argument("task_id")
@click.option("--errors", is_flag=True, help="Its row errors instead, as CSV: row, field, value, reason.")
@click.option("--output", type=OutputFile(), help="Where to; unset: its name, here.")
@pass_app
async def download(app: App, task_id: str, errors: bool, output: Path | None) -> None:
    """Write the file that a task has made, or its row errors."""
    save = save_errors if errors else save_result
    await save(app, await Desk(app).find(task_id, OPERATOR), output)


@task.command()
@click.argument("task_id")
@click.option("--json", "as_json", is_flag=True, help="Print the task as JSON.")
@pass_app
async def cancel(app: App, task_id: str, as_json: bool) -> None:
    """Cancel a task that waits, or ask a running one to stop."""
    show_task(await Desk(app).cancel(task_id, OPERATOR), as_json=as_json)


@task.command()
@click.argument("task_id")
@click.option("--json", "as_json", is_flag=True, help="Print the task as JSON.")
@pass_app
async def retry(app: App, task_id: str, as_json: bool) -> None:
    """Put a failed or cancelled task back to pending; it goes on from its checkpoint."""
    show_task(await Desk(app).retry(task_id, OPERATOR), as_json=as_json)


async def begin(
    app: App,
    kind: str,
    known: dict[str, Any],
    file: Path | None,
    *,
    params: tuple[str, ...],
    title: str | None,
    owner: str,
    watch: bool,
    as_json: bool,
    output: Path | None = None,
) -> None:
    """Start a task, and go on with it as the options say."""
    all_params = known | dict(_param(text) for text in params)
    upload = None if file is None else await upload_file(app, file, owner)
    try:
        standing = await Desk(app).start(NewTask(kind, all_params, title, upload), owner)
    except NocohostError as error:
        if upload is not None and not isinstance(error, StoreError):  # after which the task may be there all the same
            await app.storage.remove(upload.id)
        raise
    if watch or output is not None:
        standing = await follow(app, standing)
    show_task(standing, as_json=as_json)
    if watch or output is not None:
        require_success(standing)
    if output is not None:
        await save_result(app, standing, output)


async def follow(app: App, standing: Standing) -> Standing:
    """Show the progress on stderr until the task is over; who is interrupted is told that it goes on."""
    watch, task_id = Watch(app), standing.row.id
    try:
        with display(sys.stderr) as shown, watch.watching(task_id):
            shown.show(task_json(standing))
            while standing.row.is_open:
                found = await watch.look(task_id, standing)
                if found is None:
                    raise TaskConflictError("the task is gone: it was past its retention")
                standing = found
                shown.show(task_json(standing))
    except CancelledError:
        hint = f"nocohost task watch {task_id}, or nocohost task cancel {task_id}"
        click.echo(f"the task goes on without you watching: {hint}", err=True)
        raise
    return standing


async def save_result(app: App, standing: Standing, output: Path | None) -> None:
    """Write the file that a task has made."""
    file = standing.row.result_file
    if file is None:
        hint = f"nocohost task show {standing.row.id}"
        raise TaskConflictError(f"the task is {standing.state} and has made no file", hint=hint)
    await write_file(app.storage.read(file["id"]), str(file["name"]), output)


async def save_errors(app: App, standing: Standing, output: Path | None) -> None:
    """Write the row errors of a task."""
    if not standing.row.row_errors:
        raise TaskConflictError(f"the task is {standing.state} and has no row errors")
    await write_file(error_csv(app, standing.row.id), f"{standing.row.kind}-errors.csv", output)


def show_task(standing: Standing, *, as_json: bool) -> None:
    """Print a task."""
    shown = task_json(standing)
    if as_json:
        click.echo(json.dumps(shown, indent=2))
        return
    click.echo(_line(shown))
    for warning in shown["warnings"]:
        click.echo(f"  warning: {warning['message']}")
    if shown["error"]:
        click.echo(f"  error: {shown['error']}")
    if shown["row_errors"]:
        click.echo(f"  row errors: {shown['row_errors']:,}; nocohost task download {shown['id']} --errors")
    if shown["result"] and shown["result"]["value"]:
        click.echo(f"  result: {json.dumps(shown['result']['value'], ensure_ascii=False)}")
    if shown["result"] and shown["result"]["file"]:
        file = shown["result"]["file"]
        click.echo(f"  file: {file['name']}, {file['size']:,} bytes; nocohost task download {shown['id']}")


def require_success(standing: Standing) -> None:
    """Exit 1 unless the task has succeeded."""
    if standing.state != "succeeded":
        raise click.exceptions.Exit(1)


def _line(shown: dict[str, Any]) -> str:
    words = (shown["id"], f"{shown['state']:<9}", shown["kind"], shown["title"], progress_text(shown["progress"]))
    return "  ".join(word for word in words if word)


def _param(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise click.UsageError(f"--param {text!r}: write NAME=VALUE")
    return name, _value(value)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
    except RecursionError:
        raise PayloadError("a param is nested too deep", code="task.params") from None
