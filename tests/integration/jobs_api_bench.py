"""The API of jobs on a socket, for tests, and means to talk to it."""

import json
from contextlib import asynccontextmanager

from probes.web_door import Tokens, fake_app, open_door
from pydantic import BaseModel, Field

from nocohost.api.service import JobType
from nocohost.queue.enqueue import JobQueue
from nocohost.queue.lookout import Lookout
from nocohost.testing.clock import FakeClock

ADMIN = "nch_ada_secret"


class Invoice(BaseModel):
    order: int = Field(gt=0)
    note: str = ""


TYPES = {"shop:invoice": JobType("shop:invoice", payload=Invoice, priority=3), "shop:mail": JobType("shop:mail")}


@asynccontextmanager
async def open_api_on(database, clock=None, policy="park", **parts):
    lookout = Lookout(database, clock=clock or FakeClock(), look_seconds=10.0, refuses=policy == "refuse")
    queue = JobQueue(
        database, TYPES.get, keys=TYPES, external_keys=("other:image",), payload_bytes=2000, lookout=lookout
    )
    app = fake_app(database=database, queue=queue)
    tokens = Tokens(ada=["admin"], viewer=["read"], enqueuer=["job.enqueue"], operator=["operate"])
    async with open_door(app=app, tokens=tokens, declared=dict.fromkeys(TYPES, "shop"), **parts) as door:
        yield door


async def post(door, path="/api/v1/jobs", token=ADMIN, headers=None, **body):
    return await door.ask("POST", path, token=token, body=json.dumps(body).encode(), headers=headers)


async def get(door, path, token=ADMIN):
    return await door.ask("GET", path, token=token)


async def enqueued(door, **more):
    answer = await post(door, **{"key": "shop:invoice", "payload": {"order": 1}, **more})
    assert answer.status == 202, answer.body
    return answer.json()
