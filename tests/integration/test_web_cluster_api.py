"""``/api/v1/nodes/{id}/...``, ``/coverage`` and ``/queues`` over HTTP, on both databases."""

import json
from contextlib import asynccontextmanager

import pytest
from integration.queue_bench import claim
from probes.web_door import Tokens, fake_app, open_door

from nocohost.api.service import JobType
from nocohost.node.identity import new_id
from nocohost.queue.enqueue import JobQueue
from nocohost.store.nodes import NodeRecord, register_node
from nocohost.web.views import CoverageView, NodeView, QueueView

ADMIN = "nch_ada_secret"
VIEWER = "nch_viewer_secret"
KEY = "shop:invoice"
UNKNOWN_ID = "01234567-89ab-7def-8123-456789abcdef"


@pytest.fixture
def queue(database):
    return JobQueue(database, JobType, keys=[KEY], external_keys=(), payload_bytes=2000)


@pytest.fixture
def open_api(database, queue):
    @asynccontextmanager
    async def open_api():
        app = fake_app(database=database, queue=queue)
        tokens = Tokens(ada=["operate"], viewer=["read"], nobody=["job.enqueue"])
        async with open_door(app=app, tokens=tokens, declared={KEY: "acme-shop"}) as door:
            yield door

    return open_api


@pytest.fixture
async def node(database):
    record = NodeRecord(new_id(), "left", "*", False, [KEY], "0.1.0", {"acme-shop": "1.0"})
    async with database.begin() as connection:
        await register_node(connection, record, lease_seconds=60, state="serving")
    return record.id


async def post(door, path, token=ADMIN, **body):
    answer = await door.ask("POST", f"/api/v1/{path}", token=token, body=json.dumps(body).encode() if body else b"{}")
    return answer.status, answer.json()


async def get(door, path, token=VIEWER):
    answer = await door.ask("GET", f"/api/v1/{path}", token=token)
    return answer.status, answer.json()


async def test_nodes_are_listed_as_the_contract_says(open_api, node):
    async with open_api() as door:
        status, listed = await get(door, "nodes")
        assert (status, listed["next"]) == (200, None)
        [told] = listed["items"]
        assert told.pop("beat_at").endswith("Z")
        assert told.pop("started_at").endswith("Z")
        assert told == {
            "id": node,
            "name": "left",
            "mode": "*",
            "requests": False,
            "services": [KEY],
            "state": "serving",
            "version": "0.1.0",
            "plugins": {"acme-shop": "1.0"},
            "address": None,
            "running": 0,
            "stop_requested": False,
        }
        assert (await get(door, "nodes?x=1"))[0] == 400


async def test_a_node_is_made_quiet_resumed_and_asked_to_stop(open_api, node, database):
    async with open_api() as door:
        assert (await get(door, f"nodes/{node}"))[1]["state"] == "serving"
        status, quiet = await post(door, f"nodes/{node}/quiet")
        assert (status, quiet["state"], set(quiet)) == (200, "quiet", set(NodeView.model_fields))
        assert await claim(database, node) == []
        assert (await post(door, f"nodes/{node}/resume"))[1]["state"] == "serving"
        answer = await door.ask("POST", f"/api/v1/nodes/{node}/stop", token=ADMIN)
        assert (answer.status, answer.headers["Location"]) == (202, f"/api/v1/nodes/{node}")
        assert answer.json()["stop_requested"] is True


@pytest.mark.parametrize("order", ["quiet", "resume", "stop"])
async def test_orders_to_nodes_that_are_not_there_or_not_allowed_are_refused(open_api, node, order):
    async with open_api() as door:
        for unknown in (UNKNOWN_ID, "left", "%20"):
            status, told = await post(door, f"nodes/{unknown}/{order}")
            assert (status, told["code"]) == (404, "node.not_found")
        assert (await post(door, f"nodes/{node}/{order}", token=VIEWER))[0] == 403
        assert (await post(door, f"nodes/{node}/{order}?x=1"))[0] == 400
    async with open_api() as door:
        assert (await get(door, f"nodes/{UNKNOWN_ID}"))[0] == 404


async def test_coverage_and_queues_tell_of_every_key(open_api, node, queue):
    await queue.enqueue(KEY, {})
    async with open_api() as door:
        status, coverage = await get(door, "coverage")
        (one,) = coverage["items"]
        assert (status, set(one), coverage["next"]) == (200, set(CoverageView.model_fields), None)
        assert (one["key"], one["state"], one["nodes"], one["pending"]) == (KEY, "served", [node], 1)
        status, queues = await get(door, "queues")
        assert set(queues["items"][0]) == set(QueueView.model_fields)
        assert (await get(door, f"queues/{KEY}"))[1]["key"] == KEY
        for path in ("coverage", "queues", f"queues/{KEY}"):
            assert (await get(door, path, token="nch_nobody_secret"))[0] == 403
            assert (await get(door, f"{path}?x=1"))[0] == 400


async def test_a_queue_is_paused_drained_and_resumed_in_the_name_of_who_asks(open_api, node):
    async with open_api() as door:
        status, paused = await post(door, f"queues/{KEY}/pause")
        assert (status, paused["state"], paused["paused_by"]) == (200, "paused", "ada")
        assert paused["paused_at"].endswith("Z")
        answer = await door.ask("POST", f"/api/v1/queues/{KEY}/drain", token=ADMIN, body=b'{"within_seconds": 5}')
        assert (answer.status, answer.headers["Location"]) == (202, f"/api/v1/queues/{KEY}")
        assert answer.json()["drain_until"].endswith("Z")
        status, resumed = await post(door, f"queues/{KEY}/resume")
        assert (status, resumed["state"]) == (200, "served")
        assert (resumed["paused_at"], resumed["paused_by"], resumed["drain_until"]) == (None, None, None)


async def test_what_cannot_be_asked_of_a_queue_is_refused(open_api):
    async with open_api() as door:
        for key in ("shop:invoise", "shop", "Shop:Invoice"):
            status, told = await post(door, f"queues/{key}/pause")
            assert (status, told["code"]) == (404, "queue.unknown_key"), key
            assert (await get(door, f"queues/{key}"))[0] == 404
        assert (await post(door, f"queues/{KEY}/drain", within_seconds=-1))[0] == 422
        assert (await post(door, f"queues/{KEY}/drain", within=5))[0] == 422
        assert (await post(door, f"queues/{KEY}/pause", token=VIEWER))[0] == 403


async def test_a_job_is_explained(open_api, queue):
    job = await queue.enqueue(KEY, {})
    async with open_api() as door:
        status, told = await get(door, f"jobs/{job.id}/explain")
        assert (status, told["id"], told["state"]) == (200, job.id, "pending")
        assert [reason["code"] for reason in told["reasons"]] == ["unserved"]
        status, told = await get(door, f"jobs/{UNKNOWN_ID}/explain")
        assert (status, told["code"]) == (404, "queue.job_not_found")
