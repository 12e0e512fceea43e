"""Jobs that can hardly be read or judged: each comes to its own end, and keeps neither a slot nor its neighbours."""

import json
from typing import Any

from integration.queue_bench import (
    KEY,
    NO_WAIT,
    consuming,
    join_node,
    make_consumer,
    make_queue,
    read_job,
    until_state,
)
from pydantic import BaseModel, model_validator
from sqlalchemy import text

from nocohost.api.job import Job
from nocohost.api.service import JobType, Service
from nocohost.child.call import Raised, call_plain
from nocohost.store.database import SqlDatabase
from nocohost.store.jobs import list_jobs

DEEPER_THAN_THE_FAST_READER = 230


class Order(BaseModel):
    """A payload whose validator looks for what older payloads have not."""

    first: str

    @model_validator(mode="before")
    @classmethod
    def take_first(cls, values: Any) -> Any:
        return {"first": values["lines"][0]}


def unprintable() -> SyntaxError:
    """Return an exception that Python cannot print: its column is no number."""
    return SyntaxError("odd", ("file", 1, "no column", "text"))


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


async def fine(job: Job) -> None:
    """Succeed."""


async def test_a_model_whose_validator_breaks_charges_the_attempt(database: SqlDatabase) -> None:
    types = {KEY: JobType(KEY, payload=Order, attempts=2)}
    service = Service(KEY, fine, concurrency=1, backoff=NO_WAIT)
    queue = make_queue(database)
    old = await queue.enqueue(KEY, {"number": 1})
    new = await queue.enqueue(KEY, {"lines": ["a"]})
    async with consuming(make_consumer(database, await join_node(database), service, types=types)):
        row = await until_state(database, old.id, "dead")
        await until_state(database, new.id, "succeeded")
    assert (row.attempts, row.last_error) == (2, "KeyError: 'lines'")


async def test_an_exception_that_cannot_be_printed_charges_the_attempt(database: SqlDatabase) -> None:
    async def odd(job: Job) -> None:
        raise unprintable()

    service = Service(KEY, odd, concurrency=1, backoff=NO_WAIT)
    job = await make_queue(database).enqueue(KEY, {})
    types = {KEY: JobType(KEY, attempts=2)}
    async with consuming(make_consumer(database, await join_node(database), service, types=types)):
        row = await until_state(database, job.id, "dead")
    assert (row.attempts, row.last_error) == (2, "SyntaxError, which cannot be printed")


def test_nor_does_it_end_a_thread() -> None:
    def odd(job: Any) -> None:
        raise unprintable()

    raised = call_plain(Service(KEY, odd, isolation="thread"), None, None)
    assert isinstance(raised, Raised)
    assert raised.error == "SyntaxError, which cannot be printed"


async def test_a_payload_deeper_than_the_fast_reader_goes_is_read(database: SqlDatabase) -> None:
    """Events put some levels around what a column of a record holds, and nobody refuses them as they are written."""
    seen = []

    async def handler(job: Job) -> None:
        seen.append(job.payload)

    payload = {"record": nested(DEEPER_THAN_THE_FAST_READER)}
    queue = make_queue(database)
    async with database.begin() as connection:
        await queue.enqueue_texts([(KEY, json.dumps(payload))], connection)
    other = await queue.enqueue(KEY, {})
    async with consuming(make_consumer(database, await join_node(database), Service(KEY, handler))):
        await until_state(database, other.id, "succeeded")
    assert payload in seen
    async with database.connect() as connection:
        rows = (await list_jobs(connection)).items
    assert payload in [row.payload for row in rows]


async def test_a_payload_that_somebody_has_spoilt_is_a_dead_letter(database: SqlDatabase) -> None:
    spoilt = "[1]" if database.dialect == "postgresql" else "{"
    queue = make_queue(database)
    job, other = await queue.enqueue(KEY, {}), await queue.enqueue(KEY, {})
    async with database.begin() as connection:
        change = text("UPDATE nocohost_jobs SET payload = :spoilt WHERE id = :id")
        if database.dialect == "postgresql":
            change = text("UPDATE nocohost_jobs SET payload = CAST(:spoilt AS json) WHERE id = CAST(:id AS uuid)")
        job_id = job.id if database.dialect == "postgresql" else job.id.replace("-", "")
        assert (await connection.execute(change, {"spoilt": spoilt, "id": job_id})).rowcount == 1
    async with consuming(make_consumer(database, await join_node(database), Service(KEY, fine))):
        await until_state(database, other.id, "succeeded")
        row = await until_state(database, job.id, "dead")
    assert row.last_error == f"the stored payload of {KEY} is no JSON object"
    assert (await read_job(database, job.id)).payload in ([1], spoilt)
