"""The hooks that this plugin publishes."""

from collections.abc import Sequence

from builtin_plugins.async_task.form import TaskForm
from builtin_plugins.async_task.kind import TaskKind
from nocohost import App, hookspec


class TaskHooks:
    """Hooks by which other plugins add kinds of tasks."""

    @hookspec
    def register_task_forms(self) -> Sequence[TaskForm]:  # type: ignore[empty-body]
        """Declare what tasks of some kinds take.

        Called: whenever a node checks or describes a task, on every node, in ``nocohost.declarations``.
        Returns: a list of ``TaskForm``.
        If it raises: it is logged, and tasks of these kinds are refused.
        """

    @hookspec
    def register_task_kinds(self, app: App) -> Sequence[TaskKind]:  # type: ignore[empty-body]
        """Say how tasks of some kinds run.

        Called: in the child process of a task, before it runs, in ``nocohost.extensions`` of ``async-task:process``.
        Returns: a list of ``TaskKind``.
        If it raises: it is logged, and tasks of these kinds fail.
        """
