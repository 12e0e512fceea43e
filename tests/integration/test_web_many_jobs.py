"""Many jobs changed over HTTP by what they have in common, on both databases; and whom a change by hand wakes."""

import json

import pytest
from integration.test_web_jobs_api import ADMIN, UNKNOWN_ID, open_api_on

OPERATOR = "nch_operator_secret"
PENDING = {"key": "shop:invoice", "state": "pending"}


async def post(door, path, body, token=OPERATOR):
    headers = {"Content-Type": "application/json"}
    return await door.ask("POST", path, token=token, body=json.dumps(body).encode(), headers=headers)


async def enqueue(door, count):
    made = []
    for order in range(1, count + 1):
        answer = await post(door, "/api/v1/jobs", {"key": "shop:invoice", "payload": {"order": order}}, ADMIN)
        assert answer.status == 202
        made.append(answer.json()["id"])
    return made


def told(matched, changed=0, left=0):
    return {"matched": matched, "changed": changed, "left": left, "refused": []}


async def test_many_jobs_are_changed_by_filter(database):
    woken = []
    async with open_api_on(database, wake=woken.append) as door:
        await enqueue(door, 3)
        cancelled = PENDING | {"state": "cancelled"}
        for verb, body, answered in (
            ("cancel", PENDING | {"dry_run": True}, told(3, left=3)),
            ("cancel", PENDING | {"before": "2000-01-01T00:00:00Z"}, told(0)),
            ("cancel", PENDING | {"limit": 1}, told(3, 1, left=2)),
            ("cancel", PENDING, told(2, 2)),
            ("retry", cancelled, told(3, 3)),
            ("drop", PENDING, told(3, 3)),
            ("drop", PENDING, told(0)),
        ):
            answer = await post(door, f"/api/v1/jobs/{verb}", body)
            assert (answer.status, answer.json()) == (200, answered), (verb, body)
        assert woken == ["shop:invoice"] * 4, "where nothing changed nobody is woken"


async def test_a_change_of_one_job_wakes_the_nodes_after_its_commit(database):
    seen = []
    async with open_api_on(database, wake=seen.append) as door:
        (job,) = await enqueue(door, 1)
        assert (await post(door, f"/api/v1/jobs/{UNKNOWN_ID}/retry", {})).status == 404
        assert (await post(door, f"/api/v1/jobs/{job}/retry", {})).status == 409
        assert seen == []
        for verb in ("cancel", "retry", "drop"):
            assert (await post(door, f"/api/v1/jobs/{job}/{verb}", {})).status == 200
        assert seen == ["shop:invoice"] * 3


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "http.unprocessable"),
        ({"state": "pending"}, 422, "http.unprocessable"),
        ({"key": "shop:invoice"}, 422, "http.unprocessable"),
        (PENDING | {"state": "gone"}, 422, "http.unprocessable"),
        (PENDING | {"state": "running"}, 422, "queue.payload"),
        (PENDING | {"limit": 0}, 422, "http.unprocessable"),
        (PENDING | {"limit": 100_001}, 422, "http.unprocessable"),
        (PENDING | {"before": "yesterday"}, 422, "http.unprocessable"),
        (PENDING | {"until": "2026-01-31T08:00:00Z"}, 422, "http.unprocessable"),
        (PENDING | {"key": "nonsense"}, 404, "queue.unknown_key"),
        (PENDING | {"key": "shop:invoise"}, 404, "queue.unknown_key"),
    ],
)
async def test_a_filter_that_cannot_be_is_refused_and_nothing_changed(database, body, status, code):
    async with open_api_on(database) as door:
        await enqueue(door, 1)
        answer = await post(door, "/api/v1/jobs/drop", body)
        assert (answer.status, answer.json()["code"]) == (status, code)
        assert (await post(door, "/api/v1/jobs/drop", PENDING | {"dry_run": True})).json() == told(1, left=1)


@pytest.mark.parametrize("verb", ["retry", "cancel", "drop"])
async def test_only_who_may_operate_changes_many_jobs(database, verb):
    async with open_api_on(database) as door:
        for token, status in (("", 401), ("nch_viewer_secret", 403), ("nch_enqueuer_secret", 403)):
            assert (await post(door, f"/api/v1/jobs/{verb}", PENDING, token)).status == status
