"""What the description of the API says of tasks."""

from builtin_plugins.async_task.bodies import JSON, MULTIPART, NewTaskBody, NewTaskForm
from builtin_plugins.async_task.records import STATES
from builtin_plugins.async_task.view import KindPageView, TaskPageView, TaskView
from nocohost import MAX_PAGE_ITEMS, ApiDescription, ApiParameter

TASKS = "/api/v1/tasks"
ONE = f"{TASKS}/{{id}}"

START = ApiDescription(
    "start_task",
    "Start a task; what its kind takes is checked at once",
    {202: TaskView},
    bodies={JSON: NewTaskBody, MULTIPART: NewTaskForm},
    parameters=(
        ApiParameter("Idempotency-Key", "the same key with the same task returns the first one", place="header"),
    ),
    problems=(400, 404, 409, 413, 415, 422),
)
LIST = ApiDescription(
    "list_tasks",
    "List tasks, newest first: one's own, and everybody's to who may task.operate",
    {200: TaskPageView},
    parameters=(
        ApiParameter("kind", "only tasks of this kind"),
        ApiParameter("state", "only tasks in this state", {"type": "string", "enum": list(STATES)}),
        ApiParameter("owner", "only tasks of this principal"),
        ApiParameter("after", "next of the page before"),
        ApiParameter("limit", "tasks on a page", {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_ITEMS}),
    ),
    problems=(400,),
)
SHOW = ApiDescription("show_task", "Show one task", {200: TaskView}, problems=(400, 404))
CANCEL = ApiDescription(
    "cancel_task",
    "Cancel a task that waits, or ask a running one to stop: that is confirmed by its state, cancelled",
    {200: TaskView, 202: TaskView},
    problems=(400, 404, 409),
)
RETRY = ApiDescription(
    "retry_task",
    "Put a failed or cancelled task back to pending; it goes on from its checkpoint",
    {202: TaskView},
    problems=(400, 404, 409, 422),
)
RESULT = ApiDescription(
    "download_result",
    "Download the file that a task has made; ranges are answered",
    {200: "application/octet-stream", 206: "application/octet-stream"},
    problems=(400, 404, 409, 416),
)
ERRORS = ApiDescription(
    "show_errors",
    "Download the rows that were not taken: row, field, value, reason",
    {200: "text/csv"},
    problems=(400, 404),
)
EVENTS = ApiDescription(
    "follow_events",
    "Follow one task as server-sent events, state and progress, each with the task as data",
    {200: "text/event-stream"},
    problems=(400, 404),
)
KINDS = ApiDescription(
    "list_kinds", "List the kinds of tasks, with the schema of their params", {200: KindPageView}, problems=(400,)
)
