"""Steps that run beside their execution, each a task of the event loop: started, awaited, cancelled."""

import asyncio
import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from builtin_plugins.workflow.errors import StepFailedError
from builtin_plugins.workflow.step_row import Place
from builtin_plugins.workflow.step_type import StepCall, StepType
from nocohost import App, NocohostError

VALUE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Ended:
    """What came of a step that ran: its value, or its error."""

    place: Place
    value: Any = None
    code: str | None = None
    message: str = ""
    retryable: bool = True


class Effects:
    """The steps of one execution that run on this node at this moment."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._tasks: dict[Place, asyncio.Task[Any]] = {}

    @property
    def places(self) -> Collection[Place]:
        """Return which steps run."""
        return self._tasks.keys()

    def start(self, step_type: StepType, call: StepCall, timeout_seconds: float | None) -> None:
        """Run a step from now on."""
        seconds = timeout_seconds or step_type.timeout_seconds
        place = call.path, call.iteration
        self._tasks[place] = asyncio.create_task(
            _run(step_type, call, self._app, seconds), name=f"workflow step {call.path}"
        )

    async def wait(self, poke: asyncio.Event, seconds: float | None) -> None:
        """Wait until a step has ended, ``poke`` is set, or ``seconds`` are over."""
        poked = asyncio.create_task(poke.wait())
        try:
            await asyncio.wait({*self._tasks.values(), poked}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            poked.cancel()

    def take_ended(self) -> list[Ended]:
        """Return what came of the steps that have ended since."""
        over = [place for place, task in self._tasks.items() if task.done()]
        return [_ended(place, self._tasks.pop(place)) for place in over]

    def cancel(self, place: Place) -> None:
        """Cancel a step that nobody waits for any more."""
        task = self._tasks.pop(place, None)
        if task is not None:
            task.cancel()

    async def cancel_all(self) -> None:
        """Cancel every step, and wait until all have ended."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=5.0)


async def _run(step_type: StepType, call: StepCall, app: App, seconds: float) -> Any:
    async with asyncio.timeout(seconds):
        return await step_type.run(call, app)


def _ended(place: Place, task: asyncio.Task[Any]) -> Ended:
    if task.cancelled():
        return Ended(place, code="workflow.step_raised", message="the step was cancelled from inside")
    error = task.exception()
    if error is None:
        return checked(place, task.result())
    if isinstance(error, TimeoutError):
        return Ended(place, code="workflow.timeout", message=str(error) or "the step took too long")
    if isinstance(error, NocohostError):
        retryable = not isinstance(error, StepFailedError) or error.retryable
        return Ended(place, code=error.code, message=error.message, retryable=retryable)
    return Ended(place, code="workflow.step_raised", message=f"{type(error).__name__}: {error}")


def checked(place: Place, value: Any) -> Ended:
    """Return the value of a step as it is stored, or an error if it cannot be."""
    try:
        return Ended(place, stored(value))
    except StepFailedError as error:
        return Ended(place, code=error.code, message=error.message, retryable=False)


def stored(value: Any) -> Any:
    """Return a value as the database gives it back; raises ``StepFailedError`` for one that it cannot hold."""
    if value is None or isinstance(value, bool | int):
        return value
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise StepFailedError(f"the value is no JSON: {error}", code="workflow.value", retryable=False) from error
    if len(text) > VALUE_BYTES:
        raise StepFailedError(
            f"limit: value: {len(text)} bytes, at most {VALUE_BYTES}", code="workflow.value", retryable=False
        )
    return json.loads(text)
