"""Schedules in code become rows, by the node whose code is the newest; nodes of two versions do not take turns."""

import asyncio
from typing import Any

import pytest
from integration.queue_bench import KEY, make_queue, node_record
from integration.test_schedules import TYPES, make_door, nightly, row_of
from sqlalchemy import update

from nocohost.api.errors import JobConflictError, ScheduleNotFoundError
from nocohost.api.schedule import Schedule
from nocohost.node.identity import new_id
from nocohost.queue.coded_schedules import (
    COMPARE_AGAIN_SECONDS,
    COMPARE_SECONDS,
    CodedSchedules,
    ServiceSchedules,
)
from nocohost.store.database import SqlDatabase
from nocohost.store.nodes import leave_cluster, register_node
from nocohost.store.schedules import list_schedules, pause_schedule
from nocohost.store.schema import nodes
from nocohost.store.types import db_after


class CodeNode:
    """A node that serves ``key`` with a version of the shop, and the schedules that its code registers."""

    def __init__(self, database: SqlDatabase, log: Any, version: str, *schedules: Schedule, key: str = KEY) -> None:
        self.database, self.version, self.key = database, version, key
        self.id = new_id()
        checked = make_queue(database, *TYPES).checked
        services = [ServiceSchedules(key, "acme-shop", schedules)]
        self.coded = CodedSchedules(database, self.id, services, checked, log=log)

    async def join(self) -> "CodeNode":
        record = node_record(self.id, (self.key,))
        record = type(record)(record.id, "test", "*", False, record.services, "1.0", {"acme-shop": self.version}, None)
        async with self.database.begin() as connection:
            await register_node(connection, record, lease_seconds=60, state="serving")
        await self.coded.compare()
        return self

    async def leave(self) -> None:
        async with self.database.begin() as connection:
            await leave_cluster(connection, self.id)


@pytest.fixture
def node(database: SqlDatabase, log: Any) -> Any:
    return lambda version, *schedules, **more: CodeNode(database, log, version, *schedules, **more)


async def names_of(database: SqlDatabase) -> list[str]:
    async with database.connect() as connection:
        return [row.name for row in (await list_schedules(connection)).items]


async def test_schedules_in_code_get_rows_when_their_node_joins(database: SqlDatabase, node: Any) -> None:
    one = await node("1.0", nightly()).join()
    row = await row_of(database)
    assert (row.source, row.owner, row.payload) == ("code", KEY, {"month": 5, "draft": False})
    assert row.next_at is not None
    assert await one.coded.compare() == COMPARE_SECONDS


async def test_a_node_that_joins_with_the_same_code_changes_nothing(database: SqlDatabase, node: Any) -> None:
    await node("1.0", nightly()).join()
    before = await row_of(database)
    await node("1.0", nightly()).join()
    assert await row_of(database) == before


async def test_newer_code_changes_the_row_and_older_code_leaves_it(database: SqlDatabase, node: Any) -> None:
    old = await node("1.9", nightly()).join()
    new = await node("1.10", nightly(interval_seconds=60)).join()
    assert (await row_of(database)).interval_seconds == 60
    late = await node("1.9", nightly()).join()
    for one in (old, late, new, old):
        await one.coded.compare()
        assert (await row_of(database)).interval_seconds == 60
    assert await old.coded.compare() == COMPARE_AGAIN_SECONDS
    await new.leave()  # the cluster is back at the old version
    await late.coded.compare()
    assert (await row_of(database)).interval_seconds == 3600


async def test_of_equal_versions_the_node_that_started_last_decides(database: SqlDatabase, node: Any) -> None:
    first = await node("1.0", nightly()).join()
    await asyncio.sleep(0.002)
    last = await node("1.0", nightly(interval_seconds=60)).join()
    for one in (first, last, first):
        await one.coded.compare()
        assert (await row_of(database)).interval_seconds == 60


async def test_a_schedule_that_vanished_from_newer_code_stops_and_older_nodes_do_not_bring_it_back(
    database: SqlDatabase, node: Any
) -> None:
    await node("1.0", nightly(), nightly("weekly")).join()
    new = await node("2.0", nightly("weekly")).join()
    assert await names_of(database) == ["weekly"]
    again = await node("1.0", nightly(), nightly("weekly")).join()
    await again.coded.compare()
    assert await names_of(database) == ["weekly"]
    await new.leave()
    await again.coded.compare()
    assert await names_of(database) == ["nightly", "weekly"]


async def test_a_lost_node_decides_nothing(database: SqlDatabase, node: Any) -> None:
    old = await node("1.0", nightly()).join()
    new = await node("2.0").join()
    assert await names_of(database) == []
    async with database.begin() as connection:
        await connection.execute(update(nodes).where(nodes.c.id == new.id).values(lease_until=db_after(-1)))
    await old.coded.compare()
    assert await names_of(database) == ["nightly"]


async def test_a_service_without_schedules_removes_what_it_once_had(database: SqlDatabase, node: Any) -> None:
    first = await node("1.0", nightly()).join()
    await first.leave()
    await node("1.1").join()
    assert await names_of(database) == []


async def test_a_pause_outlives_a_change_of_the_code(database: SqlDatabase, node: Any) -> None:
    await node("1.0", nightly()).join()
    async with database.begin() as connection:
        await pause_schedule(connection, "nightly")
    await node("1.1", nightly(interval_seconds=60)).join()
    row = await row_of(database)
    assert (row.interval_seconds, row.next_at) == (60, None)
    assert row.paused_at is not None


async def test_a_name_that_is_taken_is_refused_and_said_once(database: SqlDatabase, node: Any, log_lines: Any) -> None:
    await make_door(database).set(nightly())
    one = await node("1.0", nightly(), nightly("weekly")).join()
    await one.coded.compare()
    refused = [line for line in log_lines.entries if line["event"] == "schedule.refused"]
    assert [line["schedule"] for line in refused] == ["nightly"]
    assert "belongs to one in the database" in refused[0]["reason"]
    assert (await row_of(database)).source == "database"
    assert await names_of(database) == ["nightly", "weekly"]


async def test_a_name_passes_to_another_service_once_nobody_serves_the_first(database: SqlDatabase, node: Any) -> None:
    first = await node("1.0", nightly()).join()
    other = await node("1.0", nightly(), key="shop:mail").join()
    assert (await row_of(database)).owner == KEY
    await first.leave()
    await other.coded.compare()
    assert (await row_of(database)).owner == "shop:mail"


async def test_one_in_code_is_removed_by_hand_only_when_its_service_is_gone(database: SqlDatabase, node: Any) -> None:
    one = await node("1.0", nightly()).join()
    door = make_door(database)
    with pytest.raises(JobConflictError, match="in the code of shop:invoice"):
        await door.remove("nightly")
    with pytest.raises(JobConflictError, match="belongs to one in the code"):
        await door.set(nightly())
    await one.leave()
    assert await door.remove("nightly")
    with pytest.raises(ScheduleNotFoundError):
        await row_of(database)


async def test_a_payload_that_the_queue_refuses_is_told(database: SqlDatabase, node: Any, log_lines: Any) -> None:
    huge = nightly("huge", "shop:mail", payload={"note": "x" * 300_000})
    await node("1.0", nightly(), huge, nightly("weekly", payload={})).join()
    refused = {line["schedule"]: line["reason"] for line in log_lines.entries if line["event"] == "schedule.refused"}
    assert refused.keys() == {"huge", "weekly"}
    assert "262144 are accepted" in refused["huge"]
    assert "month: Field required" in refused["weekly"]
    assert await names_of(database) == ["nightly"]
