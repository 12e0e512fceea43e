"""The hooks that this plugin publishes."""

from collections.abc import Sequence

from builtin_plugins.workflow.form import StepForm
from builtin_plugins.workflow.step_type import StepType
from nocohost import App, hookspec


class StepHooks:
    """Hooks by which other plugins add types of steps."""

    @hookspec
    def register_step_forms(self) -> Sequence[StepForm]:  # type: ignore[empty-body]
        """Declare what steps of some types take.

        Called: whenever a node checks a workflow, on every node, in ``nocohost.declarations``.
        Returns: a list of ``StepForm``.
        If it raises: it is logged, and workflows with such steps are refused.
        """

    @hookspec
    def register_step_types(self, app: App) -> Sequence[StepType]:  # type: ignore[empty-body]
        """Say how steps of some types run.

        Called: on nodes that serve ``workflow:process``, before the first execution, in its ``nocohost.extensions``.
        Returns: a list of ``StepType``.
        If it raises: it is logged, and executions wait at such steps.
        """
