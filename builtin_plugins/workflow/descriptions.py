"""What the description of the API says of workflows."""

from builtin_plugins.workflow.bodies import (
    JSON,
    DefinitionBody,
    EnableBody,
    NewExecutionBody,
    RetryBody,
    SignalBody,
)
from builtin_plugins.workflow.records import STATES
from builtin_plugins.workflow.view import (
    ExecutionPageView,
    ExecutionView,
    StepTypePageView,
    StoredView,
    VersionPageView,
    VersionView,
    WorkflowPageView,
    WorkflowView,
)
from nocohost import MAX_PAGE_ITEMS, ApiDescription, ApiParameter

WORKFLOWS = "/api/v1/workflows"
WORKFLOW = f"{WORKFLOWS}/{{name}}"
EXECUTIONS = "/api/v1/executions"
EXECUTION = f"{EXECUTIONS}/{{id}}"
LIMIT = ApiParameter("limit", "items on a page", {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_ITEMS})
AFTER = ApiParameter("after", "next of the page before")
BODY_PROBLEMS = (400, 404, 409, 413, 415, 422)

STORE = ApiDescription(
    "store_workflow",
    "Store the next version of a workflow; every fault of a definition is told, with its path",
    {201: StoredView},
    bodies={JSON: DefinitionBody},
    parameters=(ApiParameter("enable", "let this version start executions", {"type": "boolean"}),),
    problems=(400, 409, 413, 415, 422),
)
LIST = ApiDescription(
    "list_workflows", "List workflows by name", {200: WorkflowPageView}, parameters=(AFTER, LIMIT), problems=(400,)
)
SHOW = ApiDescription("show_workflow", "Show one workflow", {200: WorkflowView}, problems=(400, 404))
REMOVE = ApiDescription(
    "remove_workflow",
    "Remove a workflow with its versions and executions; refused while any of these is not over",
    {204: None},
    problems=(400, 404, 409),
)
VERSIONS = ApiDescription(
    "list_versions",
    "List the versions of a workflow, newest first",
    {200: VersionPageView},
    parameters=(AFTER, LIMIT),
    problems=(400, 404),
)
VERSION = ApiDescription("show_version", "Show one version of a workflow", {200: VersionView}, problems=(400, 404))
ENABLE = ApiDescription(
    "enable_workflow",
    "Let a version start executions, in place of the one that did",
    {200: StoredView},
    bodies={JSON: EnableBody},
    problems=BODY_PROBLEMS,
)
DISABLE = ApiDescription(
    "disable_workflow",
    "Let a workflow start nothing more; what runs goes on",
    {200: WorkflowView},
    problems=(400, 404),
)
START = ApiDescription(
    "start_execution",
    "Start an execution of a workflow with an api trigger; with wait_seconds, answer its end if it comes in time",
    {200: ExecutionView, 202: ExecutionView},
    bodies={JSON: NewExecutionBody},
    parameters=(
        ApiParameter("Idempotency-Key", "the same key with the same input returns the first one", place="header"),
    ),
    problems=BODY_PROBLEMS,
)
EXECUTION_LIST = ApiDescription(
    "list_executions",
    "List executions, newest first: one's own, and everybody's to who may workflow.operate",
    {200: ExecutionPageView},
    parameters=(
        ApiParameter("workflow", "only of this workflow"),
        ApiParameter("state", "only in this state", {"type": "string", "enum": list(STATES)}),
        ApiParameter("parent", "only those that this execution started"),
        AFTER,
        LIMIT,
    ),
    problems=(400,),
)
EXECUTION_SHOW = ApiDescription(
    "show_execution", "Show one execution with its steps", {200: ExecutionView}, problems=(400, 404)
)
CANCEL = ApiDescription(
    "cancel_execution", "Ask an execution to end, wherever it runs", {202: ExecutionView}, problems=(400, 404, 409)
)
RETRY = ApiDescription(
    "retry_execution",
    "Go on with what has failed: from what failed, from a chosen step, or from the start",
    {202: ExecutionView},
    bodies={JSON: RetryBody},
    problems=BODY_PROBLEMS,
)
SIGNAL = ApiDescription(
    "signal_execution",
    "Send a signal to an execution; a step takes it, now or when it comes to it",
    {202: ExecutionView},
    bodies={JSON: SignalBody},
    problems=BODY_PROBLEMS,
)
EVENTS = ApiDescription(
    "follow_execution",
    "Follow one execution as server-sent events, state and progress, each with the execution as data",
    {200: "text/event-stream"},
    problems=(400, 404),
)
STEP_TYPES = ApiDescription(
    "list_step_types",
    "List the types of steps, with the schema of their fields",
    {200: StepTypePageView},
    problems=(400,),
)
SCHEMA = ApiDescription(
    "show_workflow_schema", "The JSON Schema of a definition", {200: "application/schema+json"}, problems=(400,)
)
