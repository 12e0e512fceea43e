"""``/api/v1/tasks`` on a node that serves requests only, while nobody runs tasks: what is taken, refused and shown."""

import json
from datetime import timedelta

import aiohttp
import pytest
from sqlalchemy import insert, select, update

from builtin_plugins.async_task.retention import settle_open, tidy
from builtin_plugins.async_task.tables import row_errors, tasks
from nocohost.store.tokens import create_token, revoke_token

SETTINGS = {"NOCOHOST_PLUGINS__ASYNC_TASK__RETENTION_SECONDS": "86400"}
REPORT = {"kind": "shop-report", "params": {}}


@pytest.fixture
async def front(node, database_url):
    async with node("!", NOCOHOST_DATABASE__URL=database_url(), **SETTINGS) as running:
        yield Client(running)


class Client:
    def __init__(self, running) -> None:
        self.running = running
        self.app = running.app

    async def ask(self, method, path, *, token=None, body=None, data=None, headers=None):
        shown = self.running.headers if token is None else {"Authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession(self.running.url, headers={**shown, **(headers or {})}) as http,
            http.request(method, path, json=body, data=data) as answer,
        ):
            text = await answer.text()
            is_json = "json" in answer.content_type
            return answer.status, json.loads(text) if is_json and text else text, answer.headers

    async def start(self, token=None, **more):
        status, task, _ = await self.ask("POST", "/api/v1/tasks", token=token, body={**REPORT, **more})
        assert status == 202, task
        return task

    async def token(self, name, *scopes):
        async with self.app.database.begin() as connection:
            return (await create_token(connection, name, scopes, None)).token


async def test_a_task_waits_and_says_why_while_nobody_runs_tasks(front):
    status, task, headers = await front.ask("POST", "/api/v1/tasks", body=REPORT | {"title": "Totals"})
    assert (status, headers["Location"]) == (202, f"/api/v1/tasks/{task['id']}")
    assert (task["state"], task["title"], task["owner"], task["cancelable"]) == ("pending", "Totals", "admin", True)
    assert [warning["code"] for warning in task["warnings"]] == ["key.unserved"]
    assert (await front.ask("GET", headers["Location"]))[1] == task
    assert (task["progress"], task["result"], task["finished_at"]) == (None, None, None)


async def test_the_schema_of_the_answer_is_what_is_answered(front):
    _, document, _ = await front.ask("GET", "/api/openapi.json")
    task = await front.start()
    assert set(document["components"]["schemas"]["TaskView"]["properties"]) == set(task)
    post = document["paths"]["/api/v1/tasks"]["post"]
    assert set(post["requestBody"]["content"]) == {"application/json", "multipart/form-data"}
    assert "text/event-stream" in document["paths"]["/api/v1/tasks/{id}/events"]["get"]["responses"]["200"]["content"]


MISFITS = [
    ({"kind": "shop-report", "params": {"customer": ""}}, 422, "task.params", "customer"),
    ({"kind": "shop-report", "params": {"other": 1}}, 422, "task.params", "other"),
    ({"kind": "shop-report", "params": []}, 422, "http.unprocessable", "params"),
    ({"kind": "shop-reprot", "params": {}}, 404, "task.unknown_kind", "shop-report"),
    ({"kind": "../../etc", "params": {}}, 404, "task.unknown_kind", "no kind"),
    ({"params": {}}, 422, "http.unprocessable", "kind"),
    ({"kind": "shop-report", "params": {}, "owner": "eve"}, 422, "http.unprocessable", "owner"),
    ({"kind": "shop-report", "params": {}, "title": "a\nb"}, 422, "task.title", "title"),
    ({"kind": "shop-report", "params": {}, "title": "x" * 201}, 422, "http.unprocessable", "title"),
    ({"kind": 5, "params": {}}, 422, "http.unprocessable", "kind"),
    ([], 422, "http.unprocessable", "body"),
]


async def test_what_does_not_fit_is_refused_at_once_and_leaves_nothing(front):
    for body, status, code, said in MISFITS:
        got, problem, headers = await front.ask("POST", "/api/v1/tasks", body=body)
        assert (got, problem["code"], headers["Content-Type"]) == (status, code, "application/problem+json"), body
        assert said in json.dumps(problem)
    json_type = {"Content-Type": "application/json"}
    for text in ('{"kind": "shop-report", "params": {"customer": NaN}}', "{", '{"a": 1, "a": 2}', ""):
        status, problem, _ = await front.ask("POST", "/api/v1/tasks", data=text.encode(), headers=json_type)
        assert (status, problem["code"]) == (400, "http.bad_json"), text
    assert (await front.ask("POST", "/api/v1/tasks", data=b"x=1", headers={"Content-Type": "text/plain"}))[0] == 415
    assert (await front.ask("GET", "/api/v1/tasks"))[1]["items"] == []


async def test_an_owner_sees_and_acts_on_their_own_tasks_only(front):
    ada = await front.token("ada", "task.create", "task.read", "shop.read")
    eve = await front.token("eve", "task.create", "task.read", "shop.read")
    reader = await front.token("ada-reads", "read")
    operator = await front.token("operator", "operate")
    mine = await front.start(ada)
    path = f"/api/v1/tasks/{mine['id']}"
    unknown = (await front.ask("GET", "/api/v1/tasks/00000000-0000-7000-8000-000000000000", token=eve))[1]
    for method, end in (("GET", ""), ("GET", "/errors"), ("GET", "/events"), ("POST", "/cancel"), ("POST", "/retry")):
        status, problem, _ = await front.ask(method, path + end, token=eve)
        assert status == 404, (method, end, problem)
        assert problem["code"] == "task.not_found"
        assert problem["hint"] == unknown["hint"], "it must not show that there is one"
    for token in (eve, reader):
        assert (await front.ask("GET", "/api/v1/tasks", token=token))[1]["items"] == []
    assert (await front.ask("GET", "/api/v1/tasks?owner=ada", token=eve))[1]["items"] == []
    assert (await front.ask("POST", f"{path}/cancel", token=reader))[0] == 403
    assert (await front.ask("POST", "/api/v1/tasks", token=reader, body=REPORT))[0] == 403
    for token in (ada, operator):
        assert [one["id"] for one in (await front.ask("GET", "/api/v1/tasks", token=token))[1]["items"]] == [mine["id"]]
    assert (await front.ask("POST", f"{path}/cancel", token=operator))[1]["state"] == "cancelled"


async def test_a_kind_may_ask_for_more_permissions_by_its_params(front):
    token = await front.token("clerk", "task.create", "task.read")
    status, problem, _ = await front.ask("POST", "/api/v1/tasks", token=token, body=REPORT)
    assert (status, "shop.read" in problem["detail"]) == (403, True)


async def test_an_owner_retries_only_what_they_might_still_start(front):
    before = await front.token("ada", "task.create", "task.read", "shop.read")
    path = f"/api/v1/tasks/{(await front.start(before))['id']}"
    async with front.app.database.begin() as connection:
        await revoke_token(connection, "ada")
    after = await front.token("ada", "task.create", "task.read")
    assert (await front.ask("POST", f"{path}/cancel", token=after))[0] == 200
    status, problem, _ = await front.ask("POST", f"{path}/retry", token=after)
    assert (status, "shop.read" in json.dumps(problem)) == (403, True), problem
    assert (await front.ask("GET", path, token=after))[1]["state"] == "cancelled"
    operator = await front.token("operator", "operate")
    assert (await front.ask("POST", f"{path}/retry", token=operator))[0] == 202, "the owner's task, not theirs"


async def test_a_waiting_task_is_cancelled_at_once_and_can_be_retried_but_not_marked_again(front):
    task = await front.start()
    path = f"/api/v1/tasks/{task['id']}"
    status, cancelled, _ = await front.ask("POST", f"{path}/cancel")
    assert (status, cancelled["state"], cancelled["cancelable"]) == (200, "cancelled", False)
    assert cancelled["finished_at"] is not None
    status, problem, _ = await front.ask("POST", f"{path}/cancel")
    assert (status, problem["code"]) == (409, "task.conflict")
    status, again, _ = await front.ask("POST", f"{path}/retry")
    assert (status, again["state"], again["finished_at"], again["job"]) == (202, "pending", None, task["job"])
    status, problem, _ = await front.ask("POST", f"{path}/retry")
    assert (status, problem["code"]) == (409, "task.conflict")


@pytest.mark.parametrize(
    ("operate", "state"), [("cancel", "cancelled"), ("drop", "failed")], ids=["job cancelled", "job dropped"]
)
async def test_what_is_done_to_the_job_behind_its_back_shows_in_the_task(front, operate, state):
    task = await front.start()
    assert (await front.ask("POST", f"/api/v1/jobs/{task['job']}/{operate}"))[0] == 200
    listed = (await front.ask("GET", "/api/v1/tasks"))[1]["items"]
    assert [(one["id"], one["state"]) for one in listed] == [(task["id"], state)]
    assert (await front.ask("GET", "/api/v1/tasks?state=pending"))[1]["items"] == []
    if state == "failed":
        assert "dropped" in listed[0]["error"]
        status, again, _ = await front.ask("POST", f"/api/v1/tasks/{task['id']}/retry")
        assert (status, again["state"], again["job"] != task["job"]) == (202, "pending", True)


async def test_the_same_idempotency_key_returns_the_first_task_and_another_task_is_a_conflict(front):
    headers = {"Idempotency-Key": "monday"}
    first = (await front.ask("POST", "/api/v1/tasks", body=REPORT, headers=headers))[1]
    again = (await front.ask("POST", "/api/v1/tasks", body=REPORT, headers=headers))[1]
    assert again["id"] == first["id"]
    other = REPORT | {"params": {"customer": "Ada"}}
    status, problem, _ = await front.ask("POST", "/api/v1/tasks", body=other, headers=headers)
    assert (status, problem["code"]) == (409, "task.conflict")
    token = await front.token("ada", "task.create", "task.read", "shop.read")
    elses = (await front.ask("POST", "/api/v1/tasks", token=token, body=REPORT, headers=headers))[1]
    assert elses["id"] != first["id"]
    assert (await front.ask("POST", "/api/v1/tasks", body=REPORT, headers={"Idempotency-Key": "x" * 256}))[0] == 400


async def test_tasks_are_listed_newest_first_page_by_page(front):
    made = [(await front.start(title=f"Report {number}"))["id"] for number in range(5)]
    seen, after = [], None
    while True:
        query = "?limit=2" + (f"&after={after}" if after else "")
        page = (await front.ask("GET", f"/api/v1/tasks{query}"))[1]
        seen += [one["id"] for one in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert seen == made[::-1]
    for query in (
        "limit=0",
        "limit=201",
        "limit=x",
        "after=x",
        "state=done",
        "kind=A",
        "colour=red",
        "limit=1&limit=2",
    ):
        assert (await front.ask("GET", f"/api/v1/tasks?{query}"))[0] == 400, query


async def test_ids_that_are_none_are_not_found(front):
    for bad in ("0", "-1", "x", "%00", "00000000-0000-0000-0000-00000000000G", "9" * 500):
        assert (await front.ask("GET", f"/api/v1/tasks/{bad}"))[0] == 404, bad


async def test_kinds_are_listed_with_the_schema_of_their_params(front):
    kinds = {one["kind"]: one for one in (await front.ask("GET", "/api/v1/task-kinds"))[1]["items"]}
    assert kinds["shop-report"]["needs_file"] is False
    assert "customer" in kinds["shop-report"]["params"]["properties"]


async def test_what_is_over_goes_with_its_files_after_its_retention_and_nothing_else(front):
    keep, old = [await front.start(), await front.start()]
    running = await front.start()
    app = front.app
    files = {}
    for task in (keep, old):
        file = await app.storage.put(b"content", name="upload.csv")
        files[task["id"]] = file.id
        async with app.database.begin() as connection:
            await app.storage.keep(file.id, connection=connection)
            await connection.execute(update(tasks).where(tasks.c.id == task["id"]).values(upload=file.id))
            error = {"task_id": task["id"], "number": 0, "row": 2, "field": "net", "value": "x", "reason": "no number"}
            await connection.execute(insert(row_errors), [error])
    for task in (keep, old):
        await front.ask("POST", f"/api/v1/tasks/{task['id']}/cancel")
    async with app.database.begin() as connection:
        for task, hours in ((keep, 23), (old, 25)):
            ended = app.clock.now() - timedelta(hours=hours)
            await connection.execute(update(tasks).where(tasks.c.id == task["id"]).values(finished_at=ended))
    assert await tidy(app) == 1
    assert (await front.ask("GET", f"/api/v1/tasks/{old['id']}"))[0] == 404
    assert await app.storage.find(files[old["id"]]) is None
    assert (await app.storage.find(files[keep["id"]])).size == 7
    left = {one["id"]: one["state"] for one in (await front.ask("GET", "/api/v1/tasks"))[1]["items"]}
    assert left == {keep["id"]: "cancelled", running["id"]: "pending"}
    rows = (await front.ask("GET", f"/api/v1/tasks/{keep['id']}/errors"))[1]
    assert rows.splitlines() == ["row,field,value,reason", "2,net,x,no number"]
    assert await tidy(app) == 0


async def test_tidying_up_writes_down_the_ends_that_nobody_has_looked_at(front):
    task = await front.start()
    await front.ask("POST", f"/api/v1/jobs/{task['job']}/cancel")
    await settle_open(front.app)
    async with front.app.database.connect() as connection:
        state = await connection.scalar(select(tasks.c.state).where(tasks.c.id == task["id"]))
    assert state == "cancelled"
