"""What can be wrong with a workflow, an execution or a step."""

from nocohost import JobConflictError, JobNotFoundError, NocohostError, PayloadError


class WorkflowError(NocohostError):
    """A workflow cannot do what it is asked to."""

    code = "workflow.error"


class DefinitionError(PayloadError):
    """A definition is refused; ``faults`` lists every fault with its path."""

    code = "workflow.definition"


class WorkflowNotFoundError(JobNotFoundError):
    """There is no workflow of this name, or no version of this number."""

    code = "workflow.not_found"


class ExecutionNotFoundError(JobNotFoundError):
    """There is no execution with this id."""

    code = "workflow.execution_not_found"


class WorkflowConflictError(JobConflictError):
    """The workflow or execution is not in a state to do that."""

    code = "workflow.conflict"


class ExpressionError(WorkflowError):
    """An expression cannot be compiled or evaluated."""

    code = "workflow.expression"


class StepFailedError(WorkflowError):
    """Raised by a step: it has failed; with ``retryable=False`` its ``retry`` does not apply."""

    code = "workflow.step_failed"

    def __init__(self, message: str, *, hint: str = "", code: str = "", retryable: bool = True) -> None:
        super().__init__(message, hint=hint, code=code)
        self.retryable = retryable
