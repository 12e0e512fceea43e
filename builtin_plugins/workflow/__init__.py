"""Workflows: durable runs of steps, queued when they are triggered; the guest behind ``workflow:process``.

Other plugins add types of steps. What a type takes is declared with ``register_step_forms`` in
``nocohost.declarations``, so that every node can check it; what it does is registered with ``register_step_types`` in
an entry point ``workflow:process/<name>`` of ``nocohost.extensions``, which only the nodes that run workflows import.
"""

from builtin_plugins.workflow.errors import StepFailedError as StepFailedError
from builtin_plugins.workflow.errors import WorkflowError as WorkflowError
from builtin_plugins.workflow.form import StepForm as StepForm
from builtin_plugins.workflow.step_type import StepCall as StepCall
from builtin_plugins.workflow.step_type import StepType as StepType

KEY = "workflow:process"
"""The service key under which workflows run."""

__all__ = ["KEY", "StepCall", "StepFailedError", "StepForm", "StepType", "WorkflowError"]
