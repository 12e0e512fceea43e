"""Jobs retried, cancelled and dropped over HTTP, and who may do so."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from integration.jobs_api_bench import ADMIN, enqueued, get, open_api_on, post
from sqlalchemy import update

from nocohost.node.identity import new_id
from nocohost.store.nodes import NodeRecord, register_node
from nocohost.store.schema import history, jobs
from nocohost.testing.clock import FakeClock


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def open_api(database, clock):
    return lambda policy="park": open_api_on(database, clock, policy)


async def test_jobs_are_operated_on(open_api, database):
    async with open_api() as door:
        job = await enqueued(door)
        path = f"/api/v1/jobs/{job['id']}"
        assert (await post(door, f"{path}/retry")).json()["code"] == "queue.conflict"
        cancelled = await post(door, f"{path}/cancel")
        assert (cancelled.status, cancelled.json()["state"]) == (200, "cancelled")
        retried = await post(door, f"{path}/retry")
        assert (retried.status, retried.json()["state"], retried.json()["attempts"]) == (200, "pending", 0)
        dropped = await post(door, f"{path}/drop")
        assert (dropped.status, dropped.json()["id"]) == (200, job["id"])
        assert (await get(door, path)).status == 404


async def test_a_running_job_is_only_asked_to_stop(open_api, database):
    async with open_api() as door:
        job = await enqueued(door)
        node = NodeRecord(new_id(), "right", "*", False, ["shop:invoice"], "0.1.0", {})
        async with database.begin() as connection:
            await register_node(connection, node, lease_seconds=60, state="serving")
            await connection.execute(
                update(jobs).where(jobs.c.id == job["id"]).values(state="running", node_id=node.id, claim_id=new_id())
            )
        answer = await post(door, f"/api/v1/jobs/{job['id']}/cancel")
        assert (answer.status, answer.json()["state"], answer.json()["node"]) == (202, "running", node.id)
        assert (await post(door, f"/api/v1/jobs/{job['id']}/drop")).status == 409


async def test_a_dead_letter_is_retried(open_api, database):
    async with open_api() as door:
        job = await enqueued(door)
        path = f"/api/v1/jobs/{job['id']}"
        await post(door, f"{path}/cancel")
        async with database.begin() as connection:
            dead = {"state": "dead", "last_error": "out of attempts", "finished_at": datetime.now(UTC) - timedelta(1)}
            await connection.execute(update(history).where(history.c.id == job["id"]).values(dead))
        assert (await get(door, path)).json()["last_error"] == "out of attempts"
        assert (await post(door, f"{path}/retry")).json()["state"] == "pending"


@pytest.mark.parametrize(
    ("token", "allowed"),
    [
        ("", set()),
        ("nch_viewer_secret", {"read"}),
        ("nch_enqueuer_secret", {"enqueue"}),
        ("nch_operator_secret", {"read", "operate"}),
        (ADMIN, {"read", "enqueue", "operate"}),
    ],
)
async def test_who_may_do_what(open_api, token, allowed):
    async with open_api() as door:
        job = (await enqueued(door))["id"]
        refused = 403 if token else 401
        tried = {
            "read": [("GET", "/api/v1/jobs"), ("GET", f"/api/v1/jobs/{job}"), ("GET", "/api/v1/nodes")],
            "enqueue": [("POST", "/api/v1/jobs")],
            "operate": [("POST", f"/api/v1/jobs/{job}/{verb}") for verb in ("cancel", "retry", "drop")],
        }
        body = json.dumps({"key": "shop:mail", "payload": {}}).encode()
        for right, requests in tried.items():
            for method, path in requests:
                answer = await door.ask(method, path, token=token, body=body if method == "POST" else b"")
                assert answer.status in ({200, 202} if right in allowed else {refused}), f"{method} {path}"
