"""Which room an attempt runs in, and what becomes of a job that its children die of; on both databases."""

from collections.abc import Mapping
from typing import Any

import pytest
from integration.queue_bench import KEY, NO_WAIT, consuming, join_node, make_consumer, make_queue, until_state
from sqlalchemy import update

from nocohost.api.errors import ChildCrashedError, HandlerRaisedError
from nocohost.api.job import Job
from nocohost.api.room import Room, WorkOrder
from nocohost.api.service import OnCrash, Service
from nocohost.store.database import SqlDatabase
from nocohost.store.schema import jobs


class Cell:
    """A room that does what it is told, job by job."""

    places = 2

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes = list(outcomes)
        self.orders: list[WorkOrder] = []

    async def run(self, service: Service, job: Job, order: WorkOrder) -> Any:
        self.orders.append(order)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


async def run_in_rooms(database: SqlDatabase, rooms: Mapping[str, Room], **service: Any) -> Any:
    async def handler(job: Job) -> str:
        return "on the loop"

    node = await join_node(database)
    consumer = make_consumer(database, node, Service(KEY, handler, backoff=NO_WAIT, **service))
    consumer._attempts.rooms = rooms
    async with consuming(consumer):
        job = await make_queue(database).enqueue(KEY, {"order": 1}, group="a")
        return await until_state(database, job.id, "succeeded", "dead")


async def test_a_handler_runs_in_the_room_its_service_asks_for(database: SqlDatabase) -> None:
    cell = Cell(HandlerRaisedError("ValueError: no"), {"invoice": 1})
    row = await run_in_rooms(database, {"process": cell}, isolation="process", timeout_seconds=5)
    assert (row.state, row.value, row.attempts, row.crashes) == ("succeeded", {"invoice": 1}, 1, 0)
    first, second = cell.orders
    assert (first.payload, first.attempt, first.fence, first.group) == ({"order": 1}, 1, 1, "a")
    assert (second.attempt, second.fence, second.timeout_seconds) == (2, 2, 5)
    assert first.claim_id != second.claim_id
    assert (await run_in_rooms(database, {"process": Cell()})).value == "on the loop"


@pytest.mark.parametrize(
    ("on_crash", "state", "crashes", "attempts", "error"),
    [
        ("retry", "dead", 3, 0, "3 children died of it; the last: killed by signal 11"),
        ("hold", "dead", 1, 0, "held for a person: killed by signal 11"),
        ("fail", "succeeded", 3, 3, "killed by signal 11"),
    ],
)
async def test_what_becomes_of_a_job_that_its_children_die_of(
    database: SqlDatabase, on_crash: OnCrash, state: str, crashes: int, attempts: int, error: str
) -> None:
    cell = Cell(*[ChildCrashedError("killed by signal 11")] * 3, None)
    row = await run_in_rooms(database, {"process": cell}, isolation="process", on_crash=on_crash)
    assert (row.state, row.crashes, row.attempts, row.last_error) == (state, crashes, attempts, error)


@pytest.mark.parametrize(
    ("lost", "places", "place"),
    [
        ({"losses": 1}, 2, "apart"),
        ({"losses": 1}, 1, "on the loop"),
        ({"losses": 2}, 1, "apart"),
        ({"crashes": 1}, 1, "apart"),
    ],
)
async def test_a_job_that_was_lost_once_does_not_wait_for_a_child(
    database: SqlDatabase, lost: Mapping[str, int], places: int, place: str
) -> None:
    async def handler(job: Job) -> str:
        return "on the loop"

    cell = Cell("apart")
    cell.places = places
    job = await make_queue(database).enqueue(KEY, {})
    async with database.begin() as connection:
        await connection.execute(update(jobs).values(**lost))
    consumer = make_consumer(database, await join_node(database), Service(KEY, handler))
    consumer._attempts.rooms = {"process": cell}
    async with consuming(consumer):
        assert (await until_state(database, job.id, "succeeded")).value == place
