"""The fence around plugin code while it loads: whatever a guest does there, the node goes on.

A call runs in a daemon thread of its own with a limit. One that does not return in time is abandoned: Python cannot
stop a thread, so it keeps what it holds (the import locks of the modules it was importing, the processor if it spins)
until the process ends. Code that never releases the interpreter lock cannot be limited at all.
"""

import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextvars import copy_context
from importlib import import_module
from time import perf_counter
from types import FrameType, TracebackType
from typing import Any, TypeVar, cast

from nocohost.api.errors import PluginError, PluginLoadError
from nocohost.api.log import Log

T = TypeVar("T")
REASON_LENGTH = 500
"""A guest's message longer than this is cut in the reason; the trace has all of it."""


class GuestThread(threading.Thread):
    """A daemon thread that executes plugin code; ``doing`` since ``since`` is what it is at.

    A call into a plugin from within such a thread is a step of it: carried out here and now, with a limit of its own.
    """

    def __init__(self, call: Callable[[], Any], doing: str) -> None:
        super().__init__(name=f"nocohost: {doing}", daemon=True)
        self.doing = doing
        self.since = perf_counter()
        self.is_abandoned = False
        self.outcome: tuple[bool, Any] | None = None
        self._call = call
        self._context = copy_context()

    def run(self) -> None:
        """Carry out the call and keep what became of it."""
        try:
            self.outcome = (True, self._context.run(self._call))
        except BaseException as error:  # noqa: BLE001 - the plugin-load fence: a guest's SystemExit must not end us
            self.outcome = (False, error)

    def step(self, call: Callable[[], T], doing: str) -> T:
        """Carry out a call as a step of this thread; raises ``PluginError`` as ``call_guest`` does."""
        whole, self.doing, self.since = self.doing, doing, perf_counter()
        try:
            return call()
        except BaseException as error:
            raise _as_plugin_error(error, doing) from error
        finally:
            if self.is_abandoned:
                sys.exit()  # nobody waits any more: nothing after this step may happen
            self.doing, self.since = whole, perf_counter()

    def wait(self, seconds: float) -> bool:
        """Wait for the end; False when one step takes longer than ``seconds``."""
        while self.is_alive():
            left = self.since + seconds - perf_counter()
            if left <= 0:
                return self.outcome is not None
            self.join(left)
        return True


def call_guest(
    call: Callable[[], T], *, seconds: float, doing: str, abandoned: Callable[[Sequence[str]], None] | None = None
) -> T:
    """Call into a plugin within ``seconds`` and return its value; nothing else it may do gets out.

    Raises ``PluginLoadError`` for whatever the call raises, ``SystemExit`` and ``KeyboardInterrupt`` of its own making
    included; a ``PluginError`` of the host's own keeps its class and words. At the limit ``abandoned`` is told the
    modules whose import has not ended, innermost first, and ``PluginLoadError`` is raised. Ctrl-C in the main thread
    gets through while this waits. Calls within the call are steps of the same thread, each with the whole limit.
    """
    current = threading.current_thread()
    if isinstance(current, GuestThread):
        return current.step(call, doing)
    thread = GuestThread(call, doing)
    thread.start()
    if not thread.wait(seconds):
        thread.is_abandoned = True
        frame = sys._current_frames().get(thread.ident or 0)
        importing = _modules_in_import(frame)
        if abandoned is not None:
            abandoned(importing)
        place = f", it is still importing {importing[0]}" if importing else ""
        raise PluginLoadError(f"{thread.doing} did not return within {seconds:g} s{place}") from _stuck_at(frame)
    assert thread.outcome is not None
    returned, value = thread.outcome
    if returned:
        return cast("T", value)
    raise _as_plugin_error(value, doing) from value


def call_published(call: Callable[[], T], log: Log, **fields: Any) -> list[T]:
    """Call one implementation of a published hook here and now; return its result in a list, or log why it has none."""
    try:
        return [call()]
    except (Exception, SystemExit):
        log.exception("hook.failed", **fields)
        return []


def trace_of(error: BaseException) -> str:
    """Return the traceback of a guest's fault from its own first frame on, "" when no code of a guest was running."""
    cause = error.__cause__
    if cause is None:
        return ""
    own = _of_guest(cause.__traceback__)
    if own is None and isinstance(cause, PluginError):
        return ""
    return "".join(traceback.format_exception(type(cause), cause, own))


def _as_plugin_error(error: BaseException, doing: str) -> PluginError:
    """Return the error that the host shows for what a guest raised."""
    if isinstance(error, PluginError) and type(error).__module__ == PluginError.__module__:
        return type(error)(error.message, hint=error.hint, code=error.code)
    if isinstance(error, SyntaxError):
        detail = f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    else:
        # Not str(error): that is the guest's own code too, and may raise.
        detail = " ".join(traceback.format_exception_only(type(error), error)[0].split())
    readable = "".join(letter if letter.isprintable() else "?" for letter in detail[:REASON_LENGTH])
    return PluginLoadError(f"{doing}: {readable}")


def _of_guest(trace: TracebackType | None) -> TracebackType | None:
    """Leave out the frames of the host and of the import machinery at the top."""
    while trace is not None and _is_ours(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return trace


def _is_ours(filename: str) -> bool:
    here = __file__.removesuffix("fence.py")
    machinery = (import_module.__code__.co_filename, threading.__file__)
    return filename.startswith((here, "<frozen importlib")) or filename in machinery


def _stuck_at(frame: FrameType | None) -> TimeoutError:
    """Return a cause that shows where the abandoned thread stands; there is no traceback of what never raised."""
    error = TimeoutError("its thread was left behind, and ends with the process; it stands here:")
    if frame is not None:
        guest = [line for line in traceback.extract_stack(frame) if not _is_ours(line.filename)]
        error.add_note("".join(traceback.format_list(guest)).rstrip())
    return error


def _modules_in_import(frame: FrameType | None) -> tuple[str, ...]:
    """Return the modules whose top level a thread is executing, innermost first."""
    names: list[str] = []
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            names.append(str(frame.f_globals.get("__name__", "")))
        frame = frame.f_back
    return tuple(names)
