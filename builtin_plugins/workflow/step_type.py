"""A type of step: what runs, and what it is given."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from builtin_plugins.workflow.form import TYPE
from nocohost import PluginContractError

if TYPE_CHECKING:
    from nocohost import App


@dataclass(frozen=True, slots=True)
class StepCall:
    """One call of a step; a value."""

    execution: str
    """Id of the execution."""
    path: str
    """Where the step stands, such as ``lines/do/notify``."""
    iteration: str
    """In which round of the loops around it, such as ``2.0``; "" outside of loops."""
    type: str
    params: Any
    """The fields of the step, as the model of its form."""
    attempt: int
    """Counted from 1; another one is made after a failure, and after a crash."""
    idempotency_key: str
    """The same at every attempt: hand it to what must happen once."""


Run = Callable[["StepCall", "App"], Awaitable[Any]]
"""``async run(call, app)``; returns a JSON value, the value of the step."""


@dataclass(frozen=True, slots=True)
class StepType:
    """How steps of one type run; returned by ``register_step_types``, implemented in ``nocohost.extensions``.

    ``run(call, app)`` runs on the event loop of a node that serves ``workflow:process``. What it returns is stored
    once, in a transaction of its own; what it raises fails the step. It may be called again after a crash, with
    the same idempotency key.
    """

    name: str
    run: Run = field(repr=False)
    timeout_seconds: float = field(default=60.0, kw_only=True)
    """How long an attempt may take where the step says nothing."""

    def __post_init__(self) -> None:
        if not TYPE.fullmatch(self.name):
            raise PluginContractError(f"step type {self.name!r}: no name", hint="as in its form, such as shop.reserve")
        if not inspect.iscoroutinefunction(self.run) or len(inspect.signature(self.run).parameters) != 2:
            raise PluginContractError(
                f"step type {self.name}: run cannot be called so", hint="async def run(call, app)"
            )
        if self.timeout_seconds <= 0:
            raise PluginContractError(
                f"step type {self.name}: timeout_seconds is {self.timeout_seconds}", hint="above 0"
            )
