"""Following an execution on the command line: until its end, drawn as it goes."""

import asyncio
import json
import sys
from typing import Any

import click

from builtin_plugins.workflow.drawing import draw
from builtin_plugins.workflow.execution_desk import ExecutionDesk
from builtin_plugins.workflow.library import Library
from builtin_plugins.workflow.view import execution_json
from nocohost import App

LOOK_SECONDS = 0.3
OPEN = ("queued", "running", "waiting")


async def seen(app: App, library: Library, execution: str) -> dict[str, Any]:
    """Return an execution with its steps, and with those that it passed over."""
    return execution_json(await ExecutionDesk(app, library).whole(execution))


async def end_of(app: App, library: Library, execution: str) -> dict[str, Any]:
    """Return an execution once it has ended; on stderr it is said once what keeps it waiting."""
    desk, told = ExecutionDesk(app, library), False
    while (await desk.wait(execution, 1.0)).is_open:
        shown = await seen(app, library, execution)
        if shown["warnings"] and not told:
            click.echo(f"warning: {shown['warnings'][0]['message']}", err=True)
            told = True
    return await seen(app, library, execution)


async def follow(app: App, library: Library, execution: str) -> dict[str, Any]:
    """Draw an execution until its end: in place on a terminal, elsewhere a line for each step that changes."""
    if sys.stderr.isatty():
        return await _live(app, library, execution)
    told: dict[str, None] = {}
    while True:
        shown = await seen(app, library, execution)
        for line in draw(shown):
            if line not in told:
                told[line] = None
                click.echo(line, err=True)
        if shown["state"] not in OPEN:
            return shown
        await asyncio.sleep(LOOK_SECONDS)


async def _live(app: App, library: Library, execution: str) -> dict[str, Any]:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    shown = await seen(app, library, execution)
    with Live(console=Console(stderr=True), auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            live.update(Text("\n".join(draw(shown))), refresh=True)
            if shown["state"] not in OPEN:
                return shown
            await asyncio.sleep(LOOK_SECONDS)
            shown = await seen(app, library, execution)


def print_execution(shown: dict[str, Any], *, as_json: bool, is_drawn: bool = False) -> None:
    """Print an execution: as JSON, or drawn unless it has been."""
    if as_json:
        click.echo(json.dumps(shown, indent=2))
    elif not is_drawn:
        for line in draw(shown):
            click.echo(line)
