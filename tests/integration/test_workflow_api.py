"""``/api/v1/workflows`` and ``/api/v1/executions`` on a node that serves requests only, while nobody runs workflows."""

import json

import aiohttp
import pytest

from builtin_plugins.workflow.execution_desk import ExecutionDesk
from builtin_plugins.workflow.library import Library
from nocohost import PayloadError
from nocohost.store.tokens import create_token

DEFINITION = {
    "version": 1,
    "name": "flow",
    "title": "A flow",
    "trigger": {"type": "api"},
    "steps": [{"key": "a", "type": "calculate", "value": "trigger.input.x + 1"}],
    "output": "steps.a",
}
NOBODY = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
async def front(node, database_url):
    async with node("!", NOCOHOST_DATABASE__URL=database_url()) as running:
        yield Client(running)


class Client:
    def __init__(self, running) -> None:
        self.running = running
        self.app = running.app

    async def ask(self, method, path, *, token=None, body=None, headers=None):
        shown = self.running.headers if token is None else {"Authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession(self.running.url, headers={**shown, **(headers or {})}) as http,
            http.request(method, path, json=body) as answer,
        ):
            text = await answer.text()
            return answer.status, json.loads(text) if "json" in answer.content_type and text else text, answer.headers

    async def store(self, **more):
        status, stored, _ = await self.ask("POST", "/api/v1/workflows?enable=true", body=DEFINITION | more)
        assert status == 201, stored
        return stored

    async def start(self, body=None, name="flow", **more):
        return await self.ask("POST", f"/api/v1/workflows/{name}/executions", body=body or {"input": {"x": 1}}, **more)

    async def token(self, name, *scopes):
        async with self.app.database.begin() as connection:
            return (await create_token(connection, name, scopes, None)).token


async def test_versions_are_numbered_and_one_is_enabled(front):
    stored = await front.store()
    assert (stored["version"], stored["created"], stored["enabled"], stored["trigger"]) == (1, True, 1, "api")
    assert (await front.store())["created"] is False
    status, second, _ = await front.ask("POST", "/api/v1/workflows", body=DEFINITION | {"title": "Another"})
    assert (status, second["version"], second["enabled"], second["title"]) == (201, 2, 1, "Another")
    assert (await front.ask("POST", "/api/v1/workflows/flow/enable", body={"version": 2}))[1]["enabled"] == 2
    _, page, _ = await front.ask("GET", "/api/v1/workflows/flow/versions?limit=1")
    assert ([one["version"] for one in page["items"]], page["next"]) == ([2], "2")
    _, page, _ = await front.ask("GET", f"/api/v1/workflows/flow/versions?after={page['next']}")
    assert [one["definition"] for one in page["items"]] == [DEFINITION]
    assert (await front.ask("GET", "/api/v1/workflows/flow/versions/1"))[1]["title"] == "A flow"
    assert (await front.ask("GET", "/api/v1/workflows"))[1]["items"][0]["name"] == "flow"
    assert (await front.ask("POST", "/api/v1/workflows/flow/disable"))[1]["enabled"] is None
    status, problem, _ = await front.start()
    assert (status, problem["code"]) == (404, "workflow.not_found"), problem
    assert (await front.ask("DELETE", "/api/v1/workflows/flow"))[0] == 204
    assert (await front.ask("GET", "/api/v1/workflows/flow"))[0] == 404


async def test_a_faulty_definition_is_refused_with_every_fault(front):
    wrong = DEFINITION | {
        "steps": [
            {"key": "a", "type": "calculate", "value": "nobody"},
            {"key": "b", "type": "mystery"},
        ]
    }
    status, problem, _ = await front.ask("POST", "/api/v1/workflows", body=wrong)
    assert (status, "workflow.definition" in problem["type"]) == (422, True)
    assert [fault.split(":")[0] for fault in problem["faults"]] == ["/steps/0/value", "/steps/1/type"]


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"key": "a", "type": "job", "job": "shop:invocie"}, "shop:invoice"),
        ({"key": "a", "type": "task", "kind": "shop-reprot"}, "did you mean 'shop-report'"),
        ({"key": "a", "type": "resource.query", "resource": "shop.order"}, "did you mean 'shop.orders'"),
    ],
)
async def test_what_a_step_names_is_known_from_declarations(front, step, said):
    status, problem, _ = await front.ask("POST", "/api/v1/workflows", body=DEFINITION | {"steps": [step]})
    assert (status, said in " ".join(problem["faults"])) == (422, True), problem


@pytest.mark.parametrize(
    ("trigger", "said"),
    [
        ({"type": "resource", "resource": "shop.order", "on": ["create"]}, "shop.orders"),
        ({"type": "resource", "resource": "shop.orders", "on": ["create"], "fields": ["nett"]}, "'net'"),
        ({"type": "schedule", "cron": "61 * * * *"}, "/trigger/cron"),
        ({"type": "schedule", "cron": "@nightly"}, "/trigger/cron"),
        ({"type": "schedule", "cron": "30 0 9 * * *"}, "/trigger/cron"),
        ({"type": "schedule", "cron": f"0 9 * * {','.join('1' * 130)}"}, "/trigger/cron"),
        ({"type": "schedule", "cron": "0 9 * * *", "timezone": "localtime"}, "no time zone"),
        ({"type": "schedule", "cron": "0 9 * * *", "timezone": "Mars/Olympus"}, "no time zone"),
    ],
)
async def test_what_a_trigger_names_is_checked(front, trigger, said):
    status, problem, _ = await front.ask("POST", "/api/v1/workflows", body=DEFINITION | {"trigger": trigger})
    assert (status, said in " ".join(problem["faults"])) == (422, True), problem


async def test_a_text_with_a_nul_names_nothing(front):
    """PostgreSQL keeps no such text, and refuses the statement that asks for one."""
    await front.store()
    for path in ("", "/versions", "/versions/1"):
        assert (await front.ask("GET", f"/api/v1/workflows/fl%00ow{path}"))[0] == 404, path
    for path in ("enable", "disable", "executions"):
        assert (await front.ask("POST", f"/api/v1/workflows/fl%00ow/{path}", body={}))[0] == 404, path
    assert (await front.ask("DELETE", "/api/v1/workflows/fl%00ow"))[0] == 404
    for query in ("workflows?after=", "executions?workflow=", "executions?parent=", "tasks?owner="):
        assert (await front.ask("GET", f"/api/v1/{query}%00"))[0] == 400, query


async def test_an_execution_waits_and_says_why_while_nobody_runs_workflows(front):
    await front.store()
    status, execution, headers = await front.start({"input": {"x": 1}, "wait_seconds": 0.2})
    assert (status, headers["Location"]) == (202, f"/api/v1/executions/{execution['id']}")
    assert (execution["state"], execution["steps"], execution["input"]) == ("queued", [], {"x": 1})
    assert "no live node serves workflow:process" in execution["reason"]
    assert [warning["code"] for warning in execution["warnings"]] == ["key.unserved"]
    assert (await front.ask("GET", headers["Location"]))[1] == execution
    _, page, _ = await front.ask("GET", "/api/v1/executions?state=queued&workflow=flow")
    assert [one["id"] for one in page["items"]] == [execution["id"]]
    status, _, _ = await front.ask("POST", f"{headers['Location']}/cancel")
    assert status == 202
    assert (await front.ask("GET", headers["Location"]))[1]["cancel_requested"]
    assert (await front.ask("DELETE", "/api/v1/workflows/flow"))[0] == 409


async def test_an_idempotency_key_starts_one_execution(front):
    await front.store()
    key = {"Idempotency-Key": "k"}
    _, first, _ = await front.start(headers=key)
    assert (await front.start(headers=key))[1]["id"] == first["id"]
    status, problem, _ = await front.start({"input": {"x": 2}}, headers=key)
    assert (status, "workflow.conflict" in problem["type"]) == (409, True)


async def test_only_the_owner_sees_and_acts(front):
    await front.store()
    ada, eve = [await front.token(name, "workflow.run", "workflow.read") for name in ("ada", "eve")]
    reader = await front.token("reader", "read")
    _, execution, _ = await front.start(token=ada)
    path = f"/api/v1/executions/{execution['id']}"
    assert execution["created_by"] == "ada"
    assert (await front.ask("GET", path, token=ada))[0] == 200
    for method, where in (
        ("GET", path),
        ("POST", f"{path}/cancel"),
        ("POST", f"{path}/signals/x"),
        ("GET", f"{path}/events"),
    ):
        status, problem, _ = await front.ask(method, where, token=eve)
        assert (status, "workflow.execution_not_found" in problem["type"]) == (404, True)
    assert (await front.ask("GET", "/api/v1/executions", token=eve))[1]["items"] == []
    assert (await front.start(token=reader))[0] == 403
    assert (await front.ask("POST", "/api/v1/workflows", token=ada, body=DEFINITION))[0] == 403
    assert (await front.ask("POST", f"{path}/cancel", token=ada))[0] == 202


MISFITS = [
    ("GET", "/api/v1/executions?state=lost", None, 400),
    ("GET", "/api/v1/executions?after=x", None, 400),
    ("GET", "/api/v1/executions?other=1", None, 400),
    ("GET", "/api/v1/workflows?limit=0", None, 400),
    ("GET", "/api/v1/workflows/flow/versions/x", None, 400),
    ("GET", "/api/v1/workflows/flow/versions/9", None, 404),
    ("GET", f"/api/v1/executions/{NOBODY}", None, 404),
    ("GET", "/api/v1/executions/nonsense", None, 404),
    ("POST", f"/api/v1/executions/{NOBODY}/cancel", None, 404),
    ("POST", "/api/v1/workflows/nobody/executions", {"input": 1}, 404),
    ("POST", "/api/v1/workflows/flow/executions", {"inputs": 1}, 422),
    ("POST", "/api/v1/workflows/flow/executions", {"input": 1, "wait_seconds": 31}, 422),
    ("POST", "/api/v1/workflows/flow/executions", [], 422),
    ("POST", "/api/v1/workflows/flow/enable", {"version": 9}, 404),
    ("POST", "/api/v1/workflows?enable=maybe", DEFINITION, 400),
    ("POST", "/api/v1/workflows", [], 422),
    ("POST", "/api/v1/workflows", DEFINITION | {"version": 2}, 422),
    ("POST", "/workflow-hooks/nonsense", {}, 404),
]


async def test_what_does_not_fit_is_refused(front):
    await front.store()
    for method, path, body, expected in MISFITS:
        status, problem, _ = await front.ask(method, path, body=body)
        assert status == expected, (method, path, problem)
        if body == {"inputs": 1}:
            assert (problem["code"], problem["faults"]) == (
                "http.unprocessable",
                ["inputs: Extra inputs are not permitted"],
            )


async def test_an_input_is_json_and_not_too_large(front):
    await front.store()
    desk = ExecutionDesk(front.app, Library(front.app))
    for value in ("x" * 1_100_000, float("nan"), object()):
        with pytest.raises(PayloadError, match="input") as caught:
            await desk.start("flow", value, "tester")
        assert caught.value.code == "workflow.input"


async def test_a_webhook_needs_nothing_but_its_secret(front):
    stored = await front.store(trigger={"type": "webhook", "when": "trigger.body.total > 10"})
    path = stored["webhook"]
    assert path.startswith("/workflow-hooks/")
    async with aiohttp.ClientSession(front.running.url) as http:
        async with http.post(path, json={"total": 11}, headers={"Authorization": "secret"}) as answer:
            assert answer.status == 202
            execution = (await answer.json())["execution"]
        async with http.post(path, json={"total": 1}) as answer:
            assert (answer.status, await answer.json()) == (200, {"execution": None})
        async with http.post(f"{path}x", json={}) as answer:
            assert answer.status == 404
    _, shown, _ = await front.ask("GET", f"/api/v1/executions/{execution}")
    assert shown["input"]["body"] == {"total": 11}
    assert "authorization" not in json.dumps(shown).lower()
    assert (await front.store(trigger={"type": "webhook"}))["webhook"] is None
    async with aiohttp.ClientSession(front.running.url) as http, http.post(path, json={}) as answer:
        assert answer.status == 202
    status, problem, _ = await front.start()
    assert (status, "webhook" in problem["detail"]) == (409, True), problem


@pytest.mark.parametrize("charset", ["", "; charset=klingon", "; charset=punycode", "; charset=hex"])
async def test_a_webhook_takes_whatever_is_sent_as_text(front, charset):
    path = (await front.store(trigger={"type": "webhook"}))["webhook"]
    kind, sent = {"Content-Type": f"text/plain{charset}"}, "grün bcher-kva".encode() + b"\xff"
    async with aiohttp.ClientSession(front.running.url, headers=kind) as http, http.post(path, data=sent) as answer:
        assert answer.status == 202
        execution = (await answer.json())["execution"]
    _, shown, _ = await front.ask("GET", f"/api/v1/executions/{execution}")
    assert shown["input"]["body"] == "grün bcher-kva\N{REPLACEMENT CHARACTER}"


async def test_a_webhook_is_told_apart_by_the_whole_of_its_idempotency_key(front):
    path = (await front.store(trigger={"type": "webhook"}))["webhook"]

    async def send(key, number):
        async with (
            aiohttp.ClientSession(front.running.url, headers={"Idempotency-Key": key}) as http,
            http.post(path, json={"number": number}) as answer,
        ):
            return answer.status, (await answer.json()).get("execution")

    assert await send("a" * 300, 1) == await send("a" * 300, 1)
    sent = [await send(key, number) for number, key in enumerate(("a" * 300 + "b", "", ""), 2)]
    assert [status for status, _ in sent] == [202] * 3
    assert len({execution for _, execution in sent}) == 3


async def test_the_schema_and_the_types_are_published(front):
    _, schema, _ = await front.ask("GET", "/api/v1/workflow-schema")
    assert schema["title"] == "Workflow"
    _, types, _ = await front.ask("GET", "/api/v1/step-types")
    assert {"calculate", "http", "resource.query", "signal"} <= {one["type"] for one in types["items"]}


async def test_the_schema_of_the_answer_is_what_is_answered(front):
    await front.store()
    _, document, _ = await front.ask("GET", "/api/openapi.json")
    _, execution, _ = await front.start()
    assert set(document["components"]["schemas"]["ExecutionView"]["properties"]) == set(execution)
    _, workflow, _ = await front.ask("GET", "/api/v1/workflows/flow")
    assert set(document["components"]["schemas"]["WorkflowView"]["properties"]) == set(workflow)


async def test_an_execution_is_followed_to_its_end(node):
    async with node("") as running:
        client = Client(running)
        await client.store(steps=[*DEFINITION["steps"], {"key": "s", "type": "signal", "name": "go"}])
        _, execution, _ = await client.start()
        path, seen = f"/api/v1/executions/{execution['id']}", []
        async with (
            aiohttp.ClientSession(running.url, headers=running.headers) as http,
            http.get(f"{path}/events") as stream,
        ):
            async for line in stream.content:
                if line.startswith(b"data: "):
                    seen.append(json.loads(line[6:]))
                    if seen[-1]["state"] == "waiting":
                        await client.ask("POST", f"{path}/signals/go", body={"value": 1})
        assert [one["state"] for one in seen][-1] == "succeeded"
        assert "waiting" in {one["state"] for one in seen}
        assert (await client.ask("GET", path))[1] == seen[-1]
        status, done, _ = await client.start({"input": {"x": 4}, "wait_seconds": 0.3})
        assert (status, done["state"]) == (202, "waiting")
        assert (await client.ask("POST", f"/api/v1/executions/{done['id']}/cancel"))[0] == 202
        await client.store()
        status, done, _ = await client.start({"input": {"x": 4}, "wait_seconds": 20})
        assert (status, done["state"], done["output"]) == (200, "succeeded", 5)
