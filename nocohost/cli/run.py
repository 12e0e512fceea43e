"""``nocohost run``: start a node. The default verb."""

import asyncio
import os
import sys
from asyncio import runners
from collections.abc import Callable
from pathlib import Path
from traceback import extract_tb, format_exception_only
from typing import cast

import click

from nocohost.cli.output import INTERNAL
from nocohost.host.heap import open_heap
from nocohost.host.log import make_log, route_standard_logging
from nocohost.host.serve import serve_node
from nocohost.node.settings import load_settings


@click.command()
@click.option("--host", help="Address to bind for requests.")
@click.option("--port", type=int, help="Port to bind for requests; 0 for any free one.")
@click.option("--admin-port", type=int, help="Port to bind for health and metrics; 0 for any free one.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Directory of what the node keeps in files.")
@click.option("--config", "file", type=click.Path(path_type=Path), help="TOML file with settings.")
@click.option("--parent", type=int, hidden=True, help="Drain when the process with this id is no longer the parent.")
@click.pass_context
def run(
    context: click.Context,
    host: str | None,
    port: int | None,
    admin_port: int | None,
    data_dir: Path | None,
    file: Path | None,
    parent: int | None,
) -> None:
    """Start a node; the environment variable WORKER_MODE decides what it does.

    The node drains on TERM and Ctrl-C: it finishes its jobs by the deadline and hands the rest back. A second signal
    makes it leave at once.
    """
    open_heap()
    flags = {"http.host": host, "http.port": port, "admin.port": admin_port, "data_dir": data_dir}
    loaded = load_settings(os.environ, flags=flags, file=file)
    form, level = loaded.settings.log.format, loaded.settings.log.level
    log = make_log(sys.stdout, level=level, form=form)
    route_standard_logging(sys.stdout, level="warning" if level == "info" else level, form=form)
    for warning in loaded.warnings:
        log.warning("config.warning", reason=warning)
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            context.exit(runner.run(serve_node(loaded.settings, log, parent=parent)))
    except (SystemExit, KeyboardInterrupt) as error:
        # Raised in a task of its own: the loop lets it through, when the node has drained.
        if _is_ctrl_c(error):
            raise
        text = "".join(format_exception_only(error)).strip()
        log.error("node.failed", reason=f"a task of a plugin raised {text}")
        context.exit(INTERNAL)


def _is_ctrl_c(error: BaseException) -> bool:
    """Tell whether somebody has interrupted the start: then asyncio raises, and no task. Later, signals are drains."""
    raised = extract_tb(error.__traceback__)
    return isinstance(error, KeyboardInterrupt) and bool(raised) and raised[-1].filename == runners.__file__


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the event loop of a node: uvloop's where the extra ``fast`` is installed, else None."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        return None
    return cast("Callable[[], asyncio.AbstractEventLoop]", new_event_loop)
