"""The settings of workflows."""

from pydantic import BaseModel, Field

DAY = 86_400.0


class WorkflowSettings(BaseModel):
    """Read from ``NOCOHOST_PLUGINS__WORKFLOW__*``."""

    concurrency: int = Field(100, ge=1, le=1000, description="executions that run at a time on one node")
    max_steps: int = Field(10_000, ge=1, le=1_000_000, description="steps that one execution may run")
    max_values_mib: int = Field(
        64, ge=1, le=4096, description="MiB of JSON that the values of all steps of one execution may have together"
    )
    max_depth: int = Field(10, ge=1, le=100, description="how deep workflows may start workflows")
    timeout_seconds: float | None = Field(
        None, gt=0, description="how long an execution may take where its workflow says nothing; unset: for ever"
    )
    retention_seconds: float = Field(7 * DAY, ge=60, description="how long succeeded executions are kept")
    failed_retention_seconds: float = Field(30 * DAY, ge=60, description="how long all others are kept after their end")
    http_allow: list[str] = Field(
        [], description="hosts, addresses or networks that http steps may reach though they are not public"
    )
    http_ports: list[int] = Field([80, 443], description="ports that http steps may reach on public hosts")
    http_timeout_seconds: float = Field(30.0, gt=0, description="of http steps that say nothing")
    http_answer_bytes: int = Field(1024 * 1024, ge=1, description="how large an answer may be, once decompressed")
