"""``nocohost workflow ...``: check, import, start and watch workflows; loaded only when it is called."""

import json
from pathlib import Path
from typing import Any

import click

from builtin_plugins.workflow.drawing import columns, took
from builtin_plugins.workflow.errors import DefinitionError
from builtin_plugins.workflow.execution_desk import ExecutionDesk, Shown
from builtin_plugins.workflow.files import dumped, read_files
from builtin_plugins.workflow.library import Library
from builtin_plugins.workflow.records import STATES, list_executions
from builtin_plugins.workflow.schema import definition_schema
from builtin_plugins.workflow.versions import WorkflowRow, find_version, list_workflows
from builtin_plugins.workflow.view import execution_json, stored_json, workflow_json
from builtin_plugins.workflow.watching import end_of, follow, print_execution, seen
from builtin_plugins.workflow.workflow_desk import WorkflowDesk
from nocohost import App, pass_app

OPERATOR = "cli"
"""Whoever has the database may do everything; executions started here belong to this principal."""
MANY = 1000
PATHS = click.Path(exists=True, dir_okay=False, path_type=Path)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def workflow() -> None:
    """Check, import, start and watch workflows."""


@workflow.command()
@click.argument("files", nargs=-1, required=True, type=PATHS)
@AS_JSON
@pass_app
async def validate(app: App, files: tuple[Path, ...], as_json: bool) -> None:
    """Check definitions, JSON or YAML; exit 3 unless each is right."""
    desk = WorkflowDesk(app, Library(app))
    found = [checked(desk, file, value) for file, value in read_files(files)]
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        for one in found:
            click.echo(f"{one['file']}: {'right' if not one['faults'] else 'not right'}")
            for fault in one["faults"]:
                click.echo(f"  {fault}")
    if any(one["faults"] for one in found):
        raise click.exceptions.Exit(3)


@workflow.command("import")
@click.argument("files", nargs=-1, required=True, type=PATHS)
@click.option("--enable", is_flag=True, help="Let these versions start executions.")
@AS_JSON
@pass_app
async def import_(app: App, files: tuple[Path, ...], enable: bool, as_json: bool) -> None:
    """Store the next versions of workflows, from JSON or YAML files."""
    desk = WorkflowDesk(app, Library(app))
    read = list(read_files(files))
    for file, value in read:
        try:
            desk.check(value)
        except DefinitionError as error:
            raise DefinitionError(f"{file}: {error.message}", faults=error.faults) from error
    stored = [await desk.store(value, OPERATOR, enable=enable) for _, value in read]
    if as_json:
        click.echo(json.dumps([stored_json(one) for one in stored], indent=2))
        return
    for one in stored:
        words = [f"{one.workflow.name} v{one.number}", "stored" if one.is_new else "is the newest already"]
        words += ["enabled"] if enable else []
        click.echo("  ".join(words))
        if one.hook is not None:
            click.echo(f"  webhook, shown this once: POST {one.hook}")


@workflow.command()
@click.argument("name")
@click.option("--version", "number", type=click.IntRange(min=1), help="Unset: the newest.")
@click.option("--format", "form", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True)
@pass_app
async def export(app: App, name: str, number: int | None, form: str) -> None:
    """Print the definition of a version."""
    async with app.database.connect() as connection:
        version = await find_version(connection, name, number)
    click.echo(dumped(version.definition, form), nl=False)


@workflow.command("list")
@AS_JSON
@pass_app
async def list_(app: App, as_json: bool) -> None:
    """List workflows."""
    async with app.database.connect() as connection:
        rows = await list_workflows(connection, limit=MANY, after=None)
    if as_json:
        click.echo(json.dumps([workflow_json(row) for row in rows], indent=2))
        return
    head = ("name", "newest", "enabled", "trigger", "title")
    told = [(row.name, f"v{row.latest}", _enabled(row), row.trigger_type or "-", row.title) for row in rows]
    for line in columns(head, told):
        click.echo(line)


@workflow.command()
@click.argument("name")
@click.option("--version", "number", type=click.IntRange(min=1), help="Unset: the newest.")
@pass_app
async def enable(app: App, name: str, number: int | None) -> None:
    """Let a version start executions, in place of the one that did."""
    stored = await WorkflowDesk(app, Library(app)).enable(name, number)
    click.echo(_workflow_line(stored.workflow))
    if stored.hook is not None:
        click.echo(f"  webhook, shown this once: POST {stored.hook}")


@workflow.command()
@click.argument("name")
@pass_app
async def disable(app: App, name: str) -> None:
    """Let a workflow start nothing more; what runs goes on."""
    click.echo(_workflow_line(await WorkflowDesk(app, Library(app)).disable(name)))


@workflow.command()
@click.argument("name")
@click.option("--input", "given", default="null", show_default=True, help="JSON: what the workflow sees as input.")
@click.option("--wait", is_flag=True, help="Wait for its end; exit 1 unless it succeeds.")
@click.option("--watch", is_flag=True, help="Draw it until its end; exit 1 unless it succeeds.")
@AS_JSON
@pass_app
async def run(app: App, name: str, given: str, wait: bool, watch: bool, as_json: bool) -> None:
    """Start an execution; a node that serves workflow:process runs it."""
    library = Library(app)
    desk = ExecutionDesk(app, library)
    row = await desk.start(name, json_option("--input", given), OPERATOR, waited=wait or watch)
    if watch:
        shown = await follow(app, library, row.id)
    elif wait:
        shown = await end_of(app, library, row.id)
    else:
        shown = await seen(app, library, row.id)
    print_execution(shown, as_json=as_json, is_drawn=watch)
    if (wait or watch) and shown["state"] != "succeeded":
        raise click.exceptions.Exit(1)


@workflow.command()
@click.option("--workflow", "name", help="Only of this workflow.")
@click.option("--state", type=click.Choice(STATES), help="Only in this state.")
@click.option("--limit", type=click.IntRange(1, MANY), default=100, show_default=True, help="How many, newest first.")
@AS_JSON
@pass_app
async def executions(app: App, name: str | None, state: str | None, limit: int, as_json: bool) -> None:
    """List executions, newest first."""
    states = () if state is None else (state,)
    async with app.database.connect() as connection:
        rows = await list_executions(connection, limit=limit, workflow=name, states=states)
    items = [execution_json(Shown(row, []), with_steps=False) for row in rows]
    if as_json:
        click.echo(json.dumps(items, indent=2))
        return
    head = ("id", "state", "workflow", "created", "took", "reason")
    told = [
        (
            one["id"],
            one["state"],
            f"{one['workflow']} v{one['version']}",
            one["created_at"],
            took(one),
            one["reason"] or "",
        )
        for one in items
    ]
    for line in columns(head, told):
        click.echo(line)


@workflow.command()
@click.argument("execution")
@click.option("--watch", is_flag=True, help="Draw it until its end; exit 1 unless it succeeds.")
@AS_JSON
@pass_app
async def show(app: App, execution: str, watch: bool, as_json: bool) -> None:
    """Draw an execution as a tree of its steps, with times."""
    library = Library(app)
    shown = await (follow if watch else seen)(app, library, execution)
    print_execution(shown, as_json=as_json, is_drawn=watch)
    if watch and shown["state"] != "succeeded":
        raise click.exceptions.Exit(1)


@workflow.command()
@click.argument("execution")
@click.option("--from", "start", metavar="PATH", help='A step to run again, with all after it; "" is the start.')
@AS_JSON
@pass_app
async def retry(app: App, execution: str, start: str | None, as_json: bool) -> None:
    """Go on with an execution that has failed, from what failed."""
    library = Library(app)
    await ExecutionDesk(app, library).retry(execution, start)
    print_execution(await seen(app, library, execution), as_json=as_json)


@workflow.command()
@click.argument("execution")
@AS_JSON
@pass_app
async def cancel(app: App, execution: str, as_json: bool) -> None:
    """Ask an execution to end, wherever it runs."""
    library = Library(app)
    await ExecutionDesk(app, library).cancel(execution, "cancelled by cli")
    print_execution(await seen(app, library, execution), as_json=as_json)


@workflow.command()
@click.argument("execution")
@click.argument("name")
@click.option("--value", default="null", show_default=True, help="JSON: the value of the step that takes it.")
@pass_app
async def signal(app: App, execution: str, name: str, value: str) -> None:
    """Send a signal to an execution; a step takes it, now or when it comes to it."""
    await ExecutionDesk(app, Library(app)).signal(execution, name, json_option("--value", value), OPERATOR)


@workflow.command()
@pass_app
async def schema(app: App) -> None:
    """Print the JSON Schema of a definition, with the types of steps that are installed here."""
    click.echo(json.dumps(definition_schema(Library(app).forms), indent=2))


def checked(desk: WorkflowDesk, file: Path, value: Any) -> dict[str, Any]:
    """Return what is wrong with a definition."""
    try:
        return {"file": str(file), "name": desk.check(value).name, "faults": []}
    except DefinitionError as error:
        name = value.get("name") if isinstance(value, dict) else None
        return {"file": str(file), "name": name, "faults": list(error.faults) or [error.message]}


def json_option(name: str, text: str) -> Any:
    """Return an option's JSON; raises a usage error for what is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"{name} is no JSON: {error}") from error


def _enabled(row: WorkflowRow) -> str:
    return "-" if row.enabled is None else f"v{row.enabled}"


def _workflow_line(row: WorkflowRow) -> str:
    enabled = "disabled" if row.enabled is None else f"v{row.enabled} enabled, by {row.trigger_type}"
    return f"{row.name}  v{row.latest}  {enabled}  {row.title}"
