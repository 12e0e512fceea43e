"""The app inside a plugin's own command: ``@pass_app`` on a click command, which may be ``async def``."""

import asyncio
import functools
import inspect
import os
import sys
from collections.abc import Callable
from typing import Any

from nocohost.host.command import open_command_app


def pass_app(command: Callable[..., Any]) -> Callable[..., Any]:
    """Call ``command(app, ...)`` with an open app: database upgraded under the start-up rule, queue ready to enqueue.

    The app of a command serves nothing: ``app.serving(...)`` is false whatever ``WORKER_MODE`` says.
    """

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        return asyncio.run(_run(command, args, kwargs))

    return run


async def _run(command: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    async with open_command_app(os.environ, sys.stderr) as app:
        result = command(app, *args, **kwargs)
        return await result if inspect.isawaitable(result) else result
