"""Workflows and their versions as they stand in the database."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from builtin_plugins.workflow.errors import WorkflowNotFoundError
from builtin_plugins.workflow.tables import versions, workflows

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class WorkflowRow:
    """A workflow: its newest version, and the one that starts executions."""

    name: str
    title: str
    latest: int
    enabled: int | None
    trigger_type: str | None
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One version of a workflow; it never changes."""

    name: str
    number: int
    title: str
    definition: Mapping[str, Any]
    created_by: str
    created_at: datetime


async def enabled_version(connection: "AsyncConnection", name: str) -> tuple[int, str]:
    """Return the version that starts executions, and the type of its trigger; raises ``WorkflowNotFoundError``."""
    query = select(workflows.c.enabled, workflows.c.trigger_type).where(workflows.c.name == name)
    row = (await connection.execute(query)).first()
    if row is None:
        raise not_found(name)
    if row.enabled is None:
        raise WorkflowNotFoundError(f"no version of workflow {name!r} is enabled", hint="enable one")
    return int(row.enabled), str(row.trigger_type)


async def add_version(
    connection: "AsyncConnection", definition: Mapping[str, Any], title: str, created_by: str, now: datetime
) -> tuple[int, bool]:
    """Add the next version of a workflow; return its number, and whether it is new: the newest again adds none."""
    name, digest = str(definition["name"]), digest_of(definition)
    latest = await connection.scalar(select(workflows.c.latest).where(workflows.c.name == name).with_for_update())
    if latest is not None:
        query = select(versions.c.digest).where(versions.c.name == name, versions.c.number == latest)
        if await connection.scalar(query) == digest:
            return int(latest), False
        number = int(latest) + 1
        change = update(workflows).where(workflows.c.name == name)
        await connection.execute(change.values(latest=number, updated_at=now))
    else:
        number = 1
        await connection.execute(insert(workflows).values(name=name, latest=number, updated_at=now))
    await connection.execute(
        insert(versions).values(
            name=name,
            number=number,
            title=title,
            definition=dict(definition),
            digest=digest,
            ticks=0,
            created_by=created_by,
            created_at=now,
        )
    )
    return number, True


async def find_workflow(connection: "AsyncConnection", name: str) -> WorkflowRow:
    """Return a workflow; raises ``WorkflowNotFoundError``."""
    row = (await connection.execute(_workflows().where(workflows.c.name == name))).first()
    if row is None:
        raise not_found(name)
    return WorkflowRow(*row)


async def list_workflows(connection: "AsyncConnection", *, limit: int, after: str | None) -> Sequence[WorkflowRow]:
    """Return workflows by name."""
    query = _workflows().order_by(workflows.c.name).limit(limit)
    if after is not None:
        query = query.where(workflows.c.name > after)
    return [WorkflowRow(*row) for row in (await connection.execute(query)).all()]


async def find_version(connection: "AsyncConnection", name: str, number: int | None = None) -> VersionRow:
    """Return a version, the newest without a number; raises ``WorkflowNotFoundError``."""
    query = select(
        versions.c.name,
        versions.c.number,
        versions.c.title,
        versions.c.definition,
        versions.c.created_by,
        versions.c.created_at,
    ).where(versions.c.name == name)
    if number is not None:
        query = query.where(versions.c.number == number)
    row = (await connection.execute(query.order_by(versions.c.number.desc()).limit(1))).first()
    if row is None:
        raise not_found(name) if number is None else WorkflowNotFoundError(f"{name!r} has no version {number}")
    return VersionRow(*row)


async def list_versions(
    connection: "AsyncConnection", name: str, *, limit: int, before: int | None
) -> Sequence[VersionRow]:
    """Return versions of a workflow, newest first."""
    query = (
        select(
            versions.c.name,
            versions.c.number,
            versions.c.title,
            versions.c.definition,
            versions.c.created_by,
            versions.c.created_at,
        )
        .where(versions.c.name == name)
        .order_by(versions.c.number.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(versions.c.number < before)
    return [VersionRow(*row) for row in (await connection.execute(query)).all()]


def digest_of(value: Any) -> str:
    """Return a digest of a JSON value."""
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def not_found(name: str) -> WorkflowNotFoundError:
    """Return the error for a name that is no workflow's."""
    return WorkflowNotFoundError(f"there is no workflow {name[:100]!r}", hint="nocohost workflow list shows them")


def _workflows() -> Any:
    return select(
        workflows.c.name,
        versions.c.title,
        workflows.c.latest,
        workflows.c.enabled,
        workflows.c.trigger_type,
        workflows.c.updated_at,
    ).join(versions, (versions.c.name == workflows.c.name) & (versions.c.number == workflows.c.latest))
