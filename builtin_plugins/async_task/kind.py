"""A kind of task: what is run, where, and within which limits."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from builtin_plugins.async_task.form import is_kind
from nocohost import PluginContractError

Run = Callable[..., Any]
"""``run(task)`` or ``run(task, app)``, plain or ``async``; returns None or a ``TaskResult``."""


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What came of a task: the id of a file in ``app.storage``, a JSON value, or both."""

    file: str | None = None
    value: Any = None


@dataclass(frozen=True, slots=True)
class TaskKind:
    """How tasks of one kind run; returned by ``register_task_kinds``, implemented in ``nocohost.extensions``.

    ``run`` is ``run(task)`` or ``run(task, app)``, called in a child process: a plain ``def`` gets a ``BlockingTask``
    and the blocking app, an ``async def`` a ``Task`` and the app. It returns None or a ``TaskResult``. What it raises
    fails the attempt; the task is tried again up to ``attempts`` times, but not after ``TaskFailedError``. Every
    attempt starts with the checkpoint that the one before has saved.

    ``memory_mib`` is what the child may use, at most what the settings allow for tasks; ``timeout_seconds`` how long
    an attempt may take.
    """

    name: str
    run: Run
    memory_mib: int | None = field(default=None, kw_only=True)
    timeout_seconds: float | None = field(default=None, kw_only=True)
    attempts: int = field(default=3, kw_only=True)

    def __post_init__(self) -> None:
        where = f"task kind {self.name!r}"
        if not is_kind(self.name):
            raise PluginContractError(f"{where}: no kind", hint="lower-case letters, digits and -")
        if not callable(self.run) or self._arguments() not in (("task",), ("task", "app")):
            raise PluginContractError(f"{where}: run cannot be called so", hint="it takes (task) or (task, app)")
        if self.memory_mib is not None and self.memory_mib < 1:
            raise PluginContractError(f"{where}: memory_mib is {self.memory_mib}", hint="above 0, or None")
        if self.timeout_seconds is not None and self.timeout_seconds <= 0:
            raise PluginContractError(f"{where}: timeout_seconds is {self.timeout_seconds}", hint="above 0, or None")
        if not 1 <= self.attempts <= MOST_ATTEMPTS:
            raise PluginContractError(f"{where}: attempts is {self.attempts}", hint=f"1 to {MOST_ATTEMPTS}")

    @property
    def is_async(self) -> bool:
        """Tell whether ``run`` has to be awaited."""
        call = inspect.getattr_static(type(self.run), "__call__", None)
        return inspect.iscoroutinefunction(self.run) or inspect.iscoroutinefunction(call)

    @property
    def takes_app(self) -> bool:
        """Tell whether ``run`` is ``run(task, app)``."""
        return len(self._arguments()) > 1

    def _arguments(self) -> tuple[str, ...]:
        return tuple(inspect.signature(self.run).parameters)


MOST_ATTEMPTS = 20
