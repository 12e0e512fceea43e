"""Which code runs which type of step, on a node that serves ``workflow:process``."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from builtin_plugins.workflow.settings import WorkflowSettings
from builtin_plugins.workflow.step_type import StepType
from builtin_plugins.workflow.steps.http import request
from builtin_plugins.workflow.steps.job import QueueJob
from builtin_plugins.workflow.steps.resources import WriteRecord, aggregate, query
from builtin_plugins.workflow.steps.signal import Signal
from builtin_plugins.workflow.steps.subworkflow import SubWorkflow
from builtin_plugins.workflow.steps.task import TaskStep
from builtin_plugins.workflow.steps.timers import Timer
from nocohost import App

if TYPE_CHECKING:
    from builtin_plugins.workflow.steps.contract import TransactionStep, WaitingStep


class StepRuns:
    """The types of steps that can run here: those that run in the transaction that records them, and all others."""

    def __init__(self, app: App) -> None:
        self._app = app
        timer = Timer()
        self.waiting: Mapping[str, WaitingStep] = {
            "delay": timer,
            "wait_until": timer,
            "signal": Signal(),
            "job": QueueJob(),
            "task": TaskStep(),
            "workflow": SubWorkflow(),
        }
        write = WriteRecord()
        self.transactional: Mapping[str, TransactionStep] = {
            **self.waiting,
            "resource.create": write,
            "resource.update": write,
            "resource.delete": write,
        }
        self._effects: dict[str, StepType] | None = None

    def effect(self, kind: str) -> StepType | None:
        """Return how steps of a type run that are not recorded before they have ended; None for one unknown here."""
        if self._effects is None:
            self._effects = self._known()
        return self._effects.get(kind)

    def _known(self) -> dict[str, StepType]:
        seconds = self._app.settings(WorkflowSettings).http_timeout_seconds
        ours = [
            StepType("http", request, timeout_seconds=seconds),
            StepType("resource.query", query),
            StepType("resource.aggregate", aggregate),
        ]
        known = {one.name: one for one in ours}
        for plugin, items in self._app.hooks.call("register_step_types", app=self._app):
            for one in items if isinstance(items, list | tuple) else [items]:
                if not isinstance(one, StepType) or one.name in known or one.name in self.transactional:
                    self._app.log.error("workflow.misfit", plugin=plugin, reason=f"{_name(one)} is no new StepType")
                else:
                    known[one.name] = one
        return known


def _name(one: Any) -> str:
    return str(getattr(one, "name", type(one).__name__))
