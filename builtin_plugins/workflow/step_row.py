"""A step of an execution as it is stored: a value."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

TERMINAL = frozenset({"succeeded", "failed", "skipped", "cancelled"})
Place = tuple[str, str]
"""Path and iteration: what names a step of an execution."""


@dataclass(frozen=True, slots=True)
class StepRow:
    """One step of one execution, in one round of the loops around it."""

    path: str
    iteration: str
    number: int
    """In the order in which they began."""
    key: str
    type: str
    state: str
    started_at: datetime
    attempts: int = 1
    failures: int = 0
    input: Any = None
    output: Any = None
    error: Any = None
    """``code`` and ``message``."""
    cursor: Any = None
    node: str | None = None
    reference: str | None = None
    wake_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def place(self) -> Place:
        """Return what names it within its execution."""
        return self.path, self.iteration

    @property
    def is_over(self) -> bool:
        """Tell whether it has ended."""
        return self.state in TERMINAL
