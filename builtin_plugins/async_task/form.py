"""The form of a kind of task: what every node knows of it, and checks before a task is made."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nocohost import PluginContractError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from nocohost import App

KIND = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
PERMISSION = re.compile(r"[a-z][a-z0-9_-]*\.[a-z][a-z0-9_-]*")
KIND_LETTERS = 64


@dataclass(frozen=True, slots=True)
class TaskForm:
    """What a task of ``kind`` takes; returned by ``register_task_forms``, implemented in ``nocohost.declarations``.

    ``params`` is a pydantic model. With ``needs_file`` a file must be uploaded with it, without none may be. Whoever
    starts such a task needs ``permission``, and besides those that ``permissions_of(params, app)`` names for its
    params, such as the right to read the resource that they name; it may raise ``PayloadError`` for params that cannot
    be. ``file_bytes`` is how large the file may be, None for what the settings allow.
    """

    kind: str
    title: str
    params: "type[BaseModel]"
    needs_file: bool = field(default=False, kw_only=True)
    permission: str = field(default="task.create", kw_only=True)
    permissions_of: "Callable[[Any, App], Sequence[str]] | None" = field(default=None, kw_only=True)
    file_bytes: int | None = field(default=None, kw_only=True)
    description: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        if not is_kind(self.kind):
            raise PluginContractError(
                f"task form {self.kind!r}: no kind", hint="lower-case letters, digits and -, such as shop-report"
            )
        if not PERMISSION.fullmatch(self.permission):
            raise PluginContractError(
                f"task form {self.kind}: {self.permission!r} is no permission", hint="a permission reads noun.verb"
            )
        if self.file_bytes is not None and self.file_bytes < 1:
            raise PluginContractError(f"task form {self.kind}: file_bytes is {self.file_bytes}", hint="at least 1")


def is_kind(text: str) -> bool:
    """Tell whether ``text`` can name a kind of task."""
    return len(text) <= KIND_LETTERS and KIND.fullmatch(text) is not None
