"""The call of a handler outside the event loop, behind the fence: whatever it raises comes back as a value."""

import asyncio
import inspect
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nocohost.api.service import Service
from nocohost.api.trace import error_text, error_trace


@dataclass(frozen=True, slots=True)
class Raised:
    """An exception that a handler raised, as text; ``trace`` is all of it, from the handler's first frame on."""

    error: str
    trace: str = ""
    is_memory: bool = False
    """Whether memory ran out."""


def takes_app(service: Service) -> bool:
    """Tell whether the handler is ``handler(job, app)`` rather than ``handler(job)``."""
    return len(inspect.signature(service.handler).parameters) > 1


def is_async(service: Service) -> bool:
    """Tell whether the handler has to be awaited."""
    call = inspect.getattr_static(type(service.handler), "__call__", None)
    return inspect.iscoroutinefunction(service.handler) or inspect.iscoroutinefunction(call)


def call_plain(service: Service, job: Any, app: Any) -> Any:
    """Call a plain handler and return what it returns, or ``Raised``; ``sys.exit`` in it ends nothing else."""
    return fenced(lambda: service.handler(job, app) if takes_app(service) else service.handler(job))


async def call_async(service: Service, job: Any, app: Any) -> Any:
    """Await an ``async`` handler and return what it returns, or ``Raised``; only being cancelled gets out."""
    try:
        return await (service.handler(job, app) if takes_app(service) else service.handler(job))
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001 - the same fence
        return raised(error)


def fenced(call: Callable[[], Any]) -> Any:
    """Return what ``call`` returns, or ``Raised``."""
    try:
        return call()
    except BaseException as error:  # noqa: BLE001 - the fence around a guest's handler; sys.exit stays in it too
        return raised(error)


def raised(error: BaseException) -> Raised:
    """Return an exception as the text that the log and the job keep of it."""
    if isinstance(error, MemoryError):
        traceback.clear_frames(error.__traceback__)  # what they hold is what has filled the memory
    own = error.__traceback__
    while own is not None and own.tb_frame.f_globals.get("__name__", "").startswith(__package__ or "nocohost.child"):
        own = own.tb_next
    return Raised(error_text(error), error_trace(error, own), isinstance(error, MemoryError))
