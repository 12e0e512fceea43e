"""A workflow as it is understood: immutable, its expressions compiled."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from builtin_plugins.workflow.expressions import Expression

FORMAT = 1
"""The version of the format that is read here."""
OnError = Literal["fail", "continue", "route"]


@dataclass(frozen=True, slots=True)
class RetryRule:
    """How often a failed step is tried, and how long it waits before."""

    attempts: int = 1
    delay_seconds: float = 1.0
    factor: float = 2.0
    cap_seconds: float = 3600.0

    def wait_seconds(self, failures: int) -> float:
        """Return the wait after the ``failures``-th failure."""
        return min(self.delay_seconds * self.factor ** min(failures - 1, 64), self.cap_seconds)


@dataclass(frozen=True, slots=True)
class Step:
    """One step; ``params`` are its own fields, with an ``Expression`` wherever one stood."""

    key: str
    type: str
    path: str
    """The keys and blocks that lead to it, such as ``big/then/notify``."""
    params: Mapping[str, Any]
    blocks: Mapping[str, Sequence["Step"]] = field(default_factory=dict)
    """The blocks inside it by name: ``then``, ``do``, ``0``, ``on_error`` ..."""
    retry: RetryRule = RetryRule()
    timeout_seconds: float | None = None
    on_error: OnError = "fail"

    def walk(self) -> Iterator["Step"]:
        """Yield the step and all that are inside it."""
        yield self
        for block in self.blocks.values():
            for step in block:
                yield from step.walk()


@dataclass(frozen=True, slots=True)
class Trigger:
    """What starts executions; ``params`` are its fields, with an ``Expression`` for ``when``."""

    type: str
    params: Mapping[str, Any]

    @property
    def when(self) -> Expression | None:
        """Return the condition under which it starts one."""
        found = self.params.get("when")
        return found if isinstance(found, Expression) else None


@dataclass(frozen=True, slots=True)
class Definition:
    """A definition that was accepted."""

    name: str
    title: str
    trigger: Trigger
    steps: Sequence[Step]
    output: Expression | None = None
    timeout_seconds: float | None = None
    document: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What it was read from."""

    def walk(self) -> Iterator[Step]:
        """Yield every step."""
        for step in self.steps:
            yield from step.walk()
