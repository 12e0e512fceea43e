"""What can be wrong with a task."""

from nocohost import JobConflictError, JobNotFoundError, NocohostError


class TaskError(NocohostError):
    """A task cannot do what it is asked to."""

    code = "task.error"


class TaskFailedError(TaskError):
    """Raised by a kind: the task can never succeed, so it is not tried again; the message is the error of the task."""

    code = "task.failed"


class TaskNotFoundError(JobNotFoundError):
    """There is no task with this id, or it is somebody else's."""

    code = "task.not_found"


class TaskConflictError(JobConflictError):
    """The task is not in a state to do that."""

    code = "task.conflict"
