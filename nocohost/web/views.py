"""What the API answers, as models: they describe it, the store's functions shape it, a test holds the two together."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class View(BaseModel):
    """What all have in common: they are built when they are first used, which a node without requests never does."""

    model_config = ConfigDict(defer_build=True)


class WarningView(View):
    """Something that is done all the same, but that somebody should know."""

    code: str
    message: str


class JobView(View):
    """One job.

    ``state`` and all that belongs to it are null when an idempotency key has outlived its job and the job's history, or
    when the database went away right after it had stored the job; a warning says which.
    """

    id: str
    key: str
    state: Literal["pending", "running", "succeeded", "dead", "cancelled"] | None
    attempts: int | None = Field(description="attempts charged so far")
    priority: int | None = Field(description="lower runs first")
    group: str | None
    run_at: datetime | None = Field(description="not before this instant")
    enqueued_at: datetime | None
    started_at: datetime | None = Field(description="start of the current or last attempt")
    finished_at: datetime | None
    node: str | None = Field(description="boot id of the node that holds or last held the job")
    orphan: bool | None = Field(description="running by its state, but its node is gone; another node frees it")
    value: Any = Field(description="what the handler returned")
    last_error: str | None
    progress: Any
    warnings: list[WarningView]


class JobPageView(View):
    """Some jobs, newest first."""

    items: list[JobView]
    next: str | None = Field(description="give it as after; null on the last page")


class RefusedJobsView(View):
    """Jobs that fitted and were left as they were."""

    code: Literal["moved", "busy"]
    count: int
    message: str


class ChangedJobsView(View):
    """What came of changing many jobs; ``changed``, ``left`` and the refused add up to ``matched``."""

    matched: int = Field(description="jobs that fitted when they were counted")
    changed: int
    left: int = Field(description="not looked at: past the limit, or a dry run; the same request once more goes on")
    refused: list[RefusedJobsView] = Field(description="why some were not changed; empty when all were")


class ReasonView(View):
    """One thing that holds of a job."""

    code: Literal[
        "unserved", "paused", "not_due", "limit", "group_busy", "version", "backing_off", "running", "finished"
    ]
    message: str = Field(description="what holds, and what to do about it")


class ExplanationView(View):
    """Why a job stands where it does."""

    id: str
    state: Literal["pending", "running", "succeeded", "dead", "cancelled"]
    reasons: list[ReasonView]


class NodeView(View):
    """One node."""

    id: str = Field(description="boot id, new at every start")
    name: str
    mode: str = Field(description="canonical worker mode")
    requests: bool
    services: list[str] = Field(description="keys that the node really serves")
    state: Literal["starting", "serving", "quiet", "draining", "stopped", "lost"]
    started_at: datetime
    beat_at: datetime
    version: str
    plugins: dict[str, str] = Field(description="distribution and its version")
    address: str | None = Field(description="where its admin port is, for people")
    running: int = Field(description="jobs that it holds")
    stop_requested: bool = Field(description="somebody asked it to drain and to end")


class NodePageView(View):
    """The nodes that are known."""

    items: list[NodeView]
    next: str | None


class ScheduleView(View):
    """One schedule."""

    name: str
    key: str = Field(description="service key of the jobs that it makes")
    cron: str | None = Field(description="five fields, or an alias such as @daily")
    timezone: str = Field(description="where the clocks hang that cron is read by")
    interval_seconds: float | None = Field(description="ticks at its multiples since 1970-01-01T00:00:00Z")
    catch_up: Literal["skip", "once", "all"] = Field(description="what becomes of ticks that passed unserved")
    source: Literal["code", "database"]
    state: Literal["active", "paused"]
    description: str = Field(description="when it ticks, in words")
    next_at: datetime | None = Field(description="the next tick; null while paused")
    last_at: datetime | None = Field(description="the latest tick that made a job")
    paused_at: datetime | None


class SchedulePageView(View):
    """Some schedules, by name."""

    items: list[ScheduleView]
    next: str | None = Field(description="give it as after; null on the last page")


class FieldView(View):
    """One field of a resource."""

    name: str
    title: str = Field(description="how people call it; empty where the plugin does not say")
    kind: Literal[
        "integer",
        "float",
        "decimal",
        "boolean",
        "text",
        "choice",
        "instant",
        "date",
        "time",
        "uuid",
        "json",
        "binary",
    ]
    nullable: bool
    required: bool = Field(description="must be given when a record is created")
    computed: bool = Field(description="made by the database, cannot be given")
    length: int | None = Field(description="characters that a text may have")
    scale: int | None = Field(description="digits of a decimal after the point")
    choices: list[str]
    operators: list[str] = Field(description="what a filter may ask of it")


class ResourceView(View):
    """A table that a plugin shares."""

    name: str
    title: str
    key: list[str] = Field(description="fields of the primary key, in the order of the path")
    read: str = Field(description="the permission to read it")
    write: str = Field(description="the permission to write it")
    fields: list[FieldView]


class ResourcePageView(View):
    """The resources that the caller may read."""

    items: list[ResourceView]
    next: str | None


class ScalingView(View):
    """How much work a key has now."""

    key: str
    runnable: int = Field(description="jobs that another free slot would start now")
    running: int
    demand: int = Field(description="both together: the slots that the key can use")
    oldest_seconds: float = Field(description="how long the oldest of the runnable has been due; 0 without one")


class CoverageView(View):
    """One service key: who serves it, and how much work waits."""

    key: str
    state: Literal["served", "unserved", "gone", "paused", "quarantined"] = Field(
        description="unserved: no node ever served it; gone: none does now"
    )
    nodes: list[str] = Field(description="ids of the live nodes that serve it")
    pending: int
    running: int
    orphans: int = Field(description="running by their state, but their node is gone")
    oldest_seconds: float = Field(description="how long the oldest due job has been due")


class CoveragePageView(View):
    """The coverage of every key that is known."""

    items: list[CoverageView]
    next: str | None


class QueueView(CoverageView):
    """The queue of one service key."""

    due: int = Field(description="pending jobs whose time has come")
    paused_at: datetime | None = Field(description="nobody claims the key since then")
    paused_by: str | None = Field(description="id of the principal who paused it")
    drain_until: datetime | None = Field(description="what runs of it then is released, uncharged")
    first_served_at: datetime | None
    last_served_at: datetime | None = Field(description="to within a minute or two")


class QueuePageView(View):
    """The queue of every key that is known."""

    items: list[QueueView]
    next: str | None
