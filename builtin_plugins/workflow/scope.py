"""What expressions see: the trigger, the steps so far, and the items of the loops around them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from builtin_plugins.workflow.definition import Step
from builtin_plugins.workflow.expressions import Expression

if TYPE_CHECKING:
    from builtin_plugins.workflow.progress import Progress
    from builtin_plugins.workflow.step_row import StepRow


class Scope:
    """The names that are known at one place of a walk."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.names: dict[str, Any] = names
        self.has_last = False
        """Whether the steps of the round before can be seen, as the ``while`` of a loop does."""

    @classmethod
    def start(cls, trigger: Any) -> "Scope":
        """Return the scope in which an execution starts."""
        return cls({"trigger": trigger, "steps": {}})

    @property
    def steps(self) -> dict[str, Any]:
        """Return the values of the steps so far, by key."""
        steps: dict[str, Any] = self.names["steps"]
        return steps

    def round(self, step: Step, items: Any, index: int, last: Mapping[str, Any]) -> "Scope":
        """Return the scope of one round of a loop; ``last`` are the values of the round before."""
        inner = Scope({**self.names, "steps": {**self.steps, **last}})
        inner.has_last = bool(last)
        name = step.params.get("as")
        if name is not None:
            listed = items.get("items") if isinstance(items, dict) else None
            inner.names[name] = listed[index] if listed is not None and index < len(listed) else index
            inner.names[f"{name}_index"] = index
        return inner

    def recall(self, step: Step, row: "StepRow", index: int, progress: "Progress") -> None:
        """Let the steps of a round before be seen, from what is recorded."""
        place = f"{row.iteration}.{index}" if row.iteration else str(index)
        for one in _inside(step):
            found = progress.find(one.path, place)
            if found is not None and found.state == "succeeded":
                self.steps[one.key] = found.output
        self.has_last = True

    def forget_last(self, step: Step) -> None:
        """Hide the steps of the round before from those of this one."""
        for one in _inside(step):
            self.steps.pop(one.key, None)

    def own_steps(self, step: Step) -> Mapping[str, Any]:
        """Return the values of the steps inside a loop, as of this round."""
        return {one.key: self.steps[one.key] for one in _inside(step) if one.key in self.steps}


def _inside(step: Step) -> list[Step]:
    return [inner for one in step.blocks["do"] for inner in one.walk()]


def evaluated(value: Any, names: Mapping[str, Any]) -> Any:
    """Return ``value`` with each expression in it replaced by its value; raises ``ExpressionError``."""
    if isinstance(value, Expression):
        return value.evaluate(names)
    if isinstance(value, Mapping):
        return {name: evaluated(one, names) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [evaluated(one, names) for one in value]
    return value
