"""The form of a type of step: what every node knows of it, and checks when a workflow is saved."""

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nocohost import PluginContractError

if TYPE_CHECKING:
    from pydantic import BaseModel

    ParamsModel = type[BaseModel]

TYPE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
TYPE_LETTERS = 64


@dataclass(frozen=True, slots=True)
class StepForm:
    """What steps of ``type`` take; returned by ``register_step_forms``, implemented in ``nocohost.declarations``.

    ``params`` is a pydantic model of the fields that stand beside ``key`` and ``type``. In a definition any of them may
    be an expression; it is checked against the model when the step runs.
    """

    type: str
    title: str
    params: "ParamsModel"
    description: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        if len(self.type) > TYPE_LETTERS or not TYPE.fullmatch(self.type):
            raise PluginContractError(
                f"step form {self.type!r}: no type", hint="lower-case words joined by dots, such as shop.reserve"
            )
        taken = COMMON_FIELDS & set(self.params.model_fields)
        if taken:
            raise PluginContractError(f"step form {self.type}: {min(taken)} is a field of every step")


COMMON_FIELDS = frozenset({"key", "type", "title", "retry", "timeout_seconds", "on_error"})
"""The fields that every step has."""
