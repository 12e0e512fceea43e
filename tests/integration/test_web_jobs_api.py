"""``/api/v1/jobs`` and ``/api/v1/nodes`` over HTTP, on both databases."""

import json
from contextlib import asynccontextmanager

import pytest
from integration.jobs_api_bench import ADMIN, enqueued, get, open_api_on, post
from probes.web_door import NoDatabase

from nocohost.api.errors import StoreUnavailableError
from nocohost.node.identity import new_id
from nocohost.store.jobs import drop_job, get_job
from nocohost.store.nodes import NodeRecord, register_node
from nocohost.testing.clock import FakeClock

JOB_FIELDS = {
    "id", "key", "state", "attempts", "priority", "group", "run_at", "enqueued_at", "started_at", "finished_at", "node",
    "orphan", "value", "last_error", "progress", "warnings",
}  # fmt: skip
UNKNOWN_ID = "01234567-89ab-7def-8123-456789abcdef"


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def open_api(database, clock):
    return lambda policy="park": open_api_on(database, clock, policy)


@pytest.fixture
def open_api_alone():
    """What is refused here is refused before the database is asked; without one, anything else would be a 500."""
    return lambda: open_api_on(NoDatabase())


async def test_a_job_is_accepted_with_202_and_its_location(open_api):
    async with open_api() as door:
        answer = await post(door, key="shop:invoice", payload={"order": 7})
        job = answer.json()
        assert answer.status == 202
        assert answer.headers["Location"] == f"/api/v1/jobs/{job['id']}"
        assert set(job) == JOB_FIELDS
        assert (job["key"], job["state"], job["attempts"], job["priority"]) == ("shop:invoice", "pending", 0, 3)
        assert job["run_at"].endswith("Z")
        found = await get(door, answer.headers["Location"])
        assert found.status == 200
        assert found.json() == {**job, "warnings": []}
        assert (await door.ask("HEAD", answer.headers["Location"], token=ADMIN)).body == b""


async def serve(database, *keys):
    record = NodeRecord(new_id(), "right", "*", False, keys, "0.1.0", {})
    async with database.begin() as connection:
        await register_node(connection, record, lease_seconds=60, state="serving")


async def test_a_job_that_nobody_serves_is_accepted_with_a_warning(open_api, database, clock):
    async with open_api() as door:
        job = await enqueued(door)
        assert [warning["code"] for warning in job["warnings"]] == ["key.unserved"]
        assert (await enqueued(door, key="other:image", payload={}))["warnings"] != []
        await serve(database, "shop:invoice", "other:image")
        assert (await enqueued(door))["warnings"] != [], "what was seen is believed for a second"
        clock.advance(1.0)
        assert (await enqueued(door))["warnings"] == []
        assert (await enqueued(door, key="other:image", payload={}))["warnings"] == []
        assert (await enqueued(door, key="shop:mail", payload={}))["warnings"] != []


async def test_a_job_that_nobody_serves_is_refused_where_that_is_the_policy(open_api, database):
    async with open_api("refuse") as door:
        answer = await post(door, key="shop:invoice", payload={"order": 1})
        assert (answer.status, answer.json()["code"]) == (503, "queue.unserved")
        assert (await get(door, "/api/v1/jobs")).json()["items"] == []
        await serve(database, "shop:invoice")
        assert (await enqueued(door))["warnings"] == [], "a node that has just come is seen at once"
        refused = await post(door, key="other:image", payload={})
        assert (refused.status, refused.json()["code"]) == (503, "queue.unserved")


async def test_every_field_of_a_new_job_is_kept(open_api):
    async with open_api() as door:
        job = await enqueued(
            door, run_at="2099-01-01T00:00:00+01:00", priority=-5, group="customer 7", idempotency_key="k"
        )
        assert job["group"] == "customer 7"
        assert job["run_at"] == "2098-12-31T23:00:00Z"
        assert job["priority"] == -5


async def test_the_same_idempotency_key_gives_the_first_job_and_another_payload_a_conflict(open_api):
    async with open_api() as door:
        first = await enqueued(door, idempotency_key="k1")
        header = {"Idempotency-Key": "k1"}
        again = await post(door, key="shop:invoice", payload={"order": 1}, headers=header)
        assert (again.status, again.json()["id"]) == (202, first["id"])
        both = await post(door, key="shop:invoice", payload={"order": 1}, idempotency_key="k1", headers=header)
        assert both.json()["id"] == first["id"]
        other = await post(door, key="shop:invoice", payload={"order": 2}, headers=header)
        assert (other.status, other.json()["code"]) == (409, "queue.conflict")
        differ = await post(door, key="shop:invoice", payload={"order": 1}, idempotency_key="k2", headers=header)
        assert (differ.status, differ.json()["code"]) == (422, "http.unprocessable")


async def test_a_job_that_its_idempotency_key_outlived_is_told(open_api, database):
    async with open_api() as door:
        first = await enqueued(door, idempotency_key="k1")
        async with database.begin() as connection:
            await drop_job(connection, first["id"])
        again = await post(door, key="shop:invoice", payload={"order": 1}, idempotency_key="k1")
        assert again.status == 202
        assert (again.json()["id"], again.json()["state"]) == (first["id"], None)
        assert set(again.json()) == JOB_FIELDS
        assert [warning["code"] for warning in again.json()["warnings"]] == ["job.gone"]


@pytest.mark.parametrize(
    ("body", "status", "code", "fault"),
    [
        ({"key": "shop:invoise", "payload": {}}, 404, "queue.unknown_key", "did you mean 'shop:invoice'?"),
        ({"key": "shop:invoice", "payload": {"order": 0}}, 422, "queue.payload", "order: Input should be greater"),
        ({"key": "shop:invoice", "payload": {}}, 422, "queue.payload", "order: Field required"),
        ({"key": "shop:mail", "payload": {"text": "x" * 3000}}, 413, "queue.payload_too_large", "3011 bytes"),
        ({"key": "shop:mail", "payload": []}, 422, "http.unprocessable", "payload: Input should be a valid dictionary"),
        ({"key": "shop:mail"}, 422, "http.unprocessable", "payload: Field required"),
        ({"payload": {}, "x": 1}, 422, "http.unprocessable", "x: Extra inputs are not permitted"),
        ({"key": 7, "payload": {}}, 422, "http.unprocessable", "key: Input should be a valid string"),
        ({"key": "shop:mail", "payload": {}, "priority": "1"}, 422, "http.unprocessable", "priority: Input should be"),
        ({"key": "shop:mail", "payload": {}, "priority": 2**31}, 422, "http.unprocessable", "priority: Input should"),
        ({"key": "shop:mail", "payload": {}, "priority": True}, 422, "http.unprocessable", "priority: Input should"),
        ({"key": "shop:mail", "payload": {}, "run_at": 5}, 422, "http.unprocessable", "run_at: Value error"),
        ({"key": "shop:mail", "payload": {}, "run_at": "soon"}, 422, "http.unprocessable", "run_at: Input should"),
        ({"key": "shop:mail", "payload": {}, "run_at": "2030-01-01T00:00:00"}, 422, "http.unprocessable", "timezone"),
        (
            {"key": "shop:mail", "payload": {}, "run_at": "9999-12-31T23:59:59-10:00"},
            422,
            "http.unprocessable",
            "outside the years",
        ),
        (
            {"key": "shop:mail", "payload": {}, "idempotency_key": ""},
            422,
            "http.unprocessable",
            "idempotency_key: String should have at least 1",
        ),
        ({"key": "shop:mail", "payload": {}, "idempotency_key": "a\x00b"}, 422, "queue.payload", "idempotency key"),
        ({"key": "x" * 300, "payload": {}}, 422, "http.unprocessable", "key: String should have at most 200"),
        ([], 422, "http.unprocessable", "must be a JSON object"),
    ],
)
async def test_a_job_that_cannot_be_is_refused_with_every_fault(open_api_alone, body, status, code, fault):
    async with open_api_alone() as door:
        answer = await door.ask("POST", "/api/v1/jobs", token=ADMIN, body=json.dumps(body).encode())
        assert (answer.status, answer.json()["code"]) == (status, code)
        assert fault in answer.body.decode()


async def test_all_faults_are_told_at_once(open_api_alone):
    async with open_api_alone() as door:
        answer = await post(door, key=7, priority="high", odd=1)
        assert [fault.partition(":")[0] for fault in answer.json()["faults"]] == ["key", "payload", "priority", "odd"]
        answer = await post(door, key="shop:invoice", payload={"order": -1, "note": 5})
        assert len(answer.json()["faults"]) == 2


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Type": ""}, b"{}", 415),
        ({"Content-Type": "text/plain"}, b"{}", 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"key=shop:mail", 415),
        ({"Content-Type": "application/json; charset=latin-1"}, b"{}", 415),
        ({"Content-Type": "application/json; charset=UTF-8"}, b"{}", 422),
        ({}, b"", 400),
        ({}, b'{"key": "shop:mail", "key": "shop:mail", "payload": {}}', 400),
        ({}, b'{"key": "shop:mail", "payload": {"x": NaN}}', 400),
        ({}, b'{"key": "shop:mail", "payload": {"x": 1e999}}', 400),
        ({}, b'{"key": "shop:mail", "payload": {"x": ' + b"9" * 5000 + b"}}", 400),
        ({}, b'{"key": "shop:mail", "payload": {"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}", 400),
        ({}, b'{"key": "shop:mail", "payload": {"x": "\\ud800"}}', 400),
        ({}, b'{"key": "shop:mail", "payload": {"x": "' + b"y" * 1_100_000 + b'"}}', 413),
    ],
)
async def test_bodies_that_are_no_strict_json_are_refused(open_api_alone, headers, body, status):
    async with open_api_alone() as door:
        answer = await door.ask("POST", "/api/v1/jobs", token=ADMIN, body=body, headers=headers)
        assert answer.status == status
        assert answer.headers["Content-Type"] == "application/problem+json"


async def test_an_id_that_is_unknown_is_404(open_api):
    async with open_api() as door:
        for method, path in (("GET", ""), ("POST", "/retry"), ("POST", "/cancel"), ("POST", "/drop")):
            answer = await door.ask(method, f"/api/v1/jobs/{UNKNOWN_ID}{path}", token=ADMIN)
            assert (answer.status, answer.json()["code"]) == (404, "queue.job_not_found")


async def test_jobs_are_listed_newest_first_page_by_page(open_api):
    async with open_api() as door:
        assert (await get(door, "/api/v1/jobs?limit=200")).json() == {"items": [], "next": None}
        made = [(await enqueued(door, payload={"order": number}))["id"] for number in range(1, 6)]
        made.append((await enqueued(door, key="shop:mail", payload={}))["id"])
        page = (await get(door, "/api/v1/jobs")).json()
        assert [job["id"] for job in page["items"]] == made[::-1]
        assert page["next"] is None
        seen, path = [], "/api/v1/jobs?key=shop:invoice&limit=2"
        while path:
            page = (await get(door, path)).json()
            seen.append([job["id"] for job in page["items"]])
            path = page["next"] and f"/api/v1/jobs?key=shop:invoice&limit=2&after={page['next']}"
        assert seen == [made[4:2:-1], made[2:0:-1], made[:1]]


async def test_jobs_are_filtered_by_key_and_state_with_history_included(open_api):
    async with open_api() as door:
        gone, stays = (await enqueued(door))["id"], (await enqueued(door))["id"]
        await post(door, f"/api/v1/jobs/{gone}/cancel")
        for query, expected in (
            ("", [stays, gone]),
            ("?state=pending", [stays]),
            ("?state=cancelled", [gone]),
            ("?state=cancelled&key=shop:invoice", [gone]),
            ("?state=succeeded", []),
            ("?key=shop:mail", []),
        ):
            assert [job["id"] for job in (await get(door, f"/api/v1/jobs{query}")).json()["items"]] == expected
        assert (await get(door, f"/api/v1/jobs/{gone}")).json()["finished_at"].endswith("Z")


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=201", "limit=1000000000", "limit=-1", "limit=x", "limit=", "limit=%D9%A1", "state=lost",
        "state=", "key=nokey", "after=x", "after=%00", "unknown=1", "state=dead&state=dead", "sort=key",
    ],
)  # fmt: skip
async def test_a_query_that_cannot_be_is_400(open_api_alone, query):
    async with open_api_alone() as door:
        answer = await get(door, f"/api/v1/jobs?{query}")
        assert (answer.status, answer.json()["code"]) == (400, "http.bad_query")


async def test_an_enqueue_takes_no_query(open_api_alone):
    async with open_api_alone() as door:
        body = json.dumps({"key": "shop:mail", "payload": {}}).encode()
        answer = await door.ask("POST", "/api/v1/jobs?priority=1", token=ADMIN, body=body)
        assert (answer.status, answer.json()["code"]) == (400, "http.bad_query")


@pytest.mark.parametrize(
    "job_id",
    [
        UNKNOWN_ID.upper(), UNKNOWN_ID.replace("-", ""), f"urn:uuid:{UNKNOWN_ID}", "0", "-1",
        "9223372036854775808", "x", "%00", "..%2F..", "a" * 5000,
    ],
)  # fmt: skip
async def test_an_id_that_is_none_is_404_like_one_that_is_unknown(open_api_alone, job_id):
    async with open_api_alone() as door:
        for method, path in (("GET", ""), ("POST", "/retry"), ("POST", "/cancel"), ("POST", "/drop")):
            answer = await door.ask(method, f"/api/v1/jobs/{job_id}{path}", token=ADMIN)
            assert (answer.status, answer.json()["code"]) == (404, "queue.job_not_found")
            assert len(answer.body) < 600


async def test_a_database_that_is_away_is_503_and_when_to_come_again(open_api, database, monkeypatch):
    async with open_api() as door:
        await enqueued(door)  # the token is known now

        @asynccontextmanager
        async def away():
            raise StoreUnavailableError("no route to db.internal")
            yield

        async def no_insert(news):
            raise StoreUnavailableError("no route to db.internal")

        for method in ("connect", "begin"):
            monkeypatch.setattr(database, method, away)
        monkeypatch.setattr(database.hot, "insert", no_insert)
        for answer in (await get(door, "/api/v1/jobs"), await post(door, key="shop:mail", payload={})):
            assert (answer.status, answer.json()["code"]) == (503, "store.unavailable")
            assert answer.headers["Retry-After"] == "2"
            assert b"db.internal" not in answer.body


async def test_a_job_that_is_stored_is_accepted_though_it_cannot_be_read_back(open_api, database, monkeypatch):
    """A client that was told 503 would make it once more."""

    async def away(connection, job_id):
        raise StoreUnavailableError("the database went away")

    async with open_api() as door:
        with monkeypatch.context() as patch:
            patch.setattr("nocohost.store.jobs.get_job", away)
            answer = await post(door, key="shop:invoice", payload={"order": 7}, group="a")
    job = answer.json()
    assert (answer.status, answer.headers["Location"]) == (202, f"/api/v1/jobs/{job['id']}")
    assert set(job) == JOB_FIELDS
    assert (job["key"], job["state"]) == ("shop:invoice", None)
    assert job["warnings"][-1]["code"] == "job.unseen"
    async with database.connect() as connection:
        assert (await get_job(connection, job["id"])).group == "a"
