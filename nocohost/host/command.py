"""The app of a command: the database and the queue, and nothing that serves."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TextIO

from nocohost.api.app import App
from nocohost.api.mode import CHILD
from nocohost.host.build import build_node
from nocohost.host.log import make_log
from nocohost.node.clock import SystemClock
from nocohost.node.settings import load_settings
from nocohost.plugins.catalogue import read_catalogue
from nocohost.store.hints import JOB
from nocohost.store.migrate import ensure_schema


@asynccontextmanager
async def open_command_app(environ: Mapping[str, str], stream: TextIO) -> AsyncIterator[App]:
    """Open an app that serves nothing, and close it at the end of the block; its log goes to ``stream``.

    Of the published hooks it has what the declarations implement.
    """
    settings = load_settings(environ).settings
    log = make_log(stream, level=settings.log.level, form=settings.log.format)
    parts = build_node(settings, read_catalogue(), CHILD, clock=SystemClock(), log=log)
    try:
        await parts.database.wait(settings.database.wait_seconds)
        sets, unreadable = parts.migrations()
        unfit = await ensure_schema(parts.database, sets, upgrade_allowed=settings.database.upgrade)
        for plugin, error in {**unreadable, **unfit}.items():
            log.warning("migrations.unfit", plugin=plugin, reason=str(error))
        parts.app.offer(parts.declarations.node_hooks(log))
        await parts.hints.start()
        queue = parts.make_queue(parts.make_lookout())
        queue.on_enqueued = lambda key, jobs: parts.hints.send(JOB, key)
        queue.reports.on_changed = lambda key: parts.hints.send(JOB, key)
        parts.open_app(queue)
        yield parts.app
    finally:
        await parts.close()
