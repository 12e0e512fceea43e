"""What starts executions without being asked, and what steps do outside: resources, HTTP, tasks."""

import asyncio
from datetime import timedelta

import pytest
from aiohttp import web
from flow_bench import Flows, calculate
from sqlalchemy import delete, select, update

from builtin_plugins.workflow import workflow_desk
from builtin_plugins.workflow.records import list_executions
from builtin_plugins.workflow.tables import executions, workflows
from nocohost import StoreError
from nocohost.queue.schedule_door import ScheduleDoor
from nocohost.store.schema import schedules

ALLOWED = {
    "NOCOHOST_PLUGINS__WORKFLOW__HTTP_ALLOW": '["127.0.0.1"]',
    "NOCOHOST_PLUGINS__WORKFLOW__HTTP_ANSWER_BYTES": "20000",
    "NOCOHOST_PLUGINS__WORKFLOW__HTTP_TIMEOUT_SECONDS": "20",
    "NOCOHOST_PLUGINS__WORKFLOW__HTTP_PORTS": "[80, 443]",
}


@pytest.fixture
async def flows(node, database_url):
    async with node("", NOCOHOST_DATABASE__URL=database_url(), **ALLOWED) as running:
        yield Flows(running)


@pytest.fixture
async def slow_flows(node):
    async with node("") as running:
        yield Flows(running)


async def started(flows, name="flow"):
    async with flows.app.database.connect() as connection:
        return await list_executions(connection, limit=100, workflow=name)


async def until_started(flows, count):
    async with asyncio.timeout(60):
        while len(found := await started(flows)) < count:
            await asyncio.sleep(0.02)
    return found


async def test_a_record_starts_an_execution_if_it_is_wanted(flows):
    trigger = {
        "type": "resource",
        "resource": "shop.orders",
        "on": ["create", "update"],
        "when": "double(trigger.record.net) > 100.0",
    }
    await flows.save(
        [calculate("who", "trigger.event + ' ' + trigger.record.customer")], trigger=trigger, output="steps.who"
    )
    await flows.app.resources.create("shop.orders", {"customer": "Small", "net": "5.00"})
    order = await flows.app.resources.create("shop.orders", {"customer": "Ada", "net": "500.00"})
    (row,) = await until_started(flows, 1)
    assert (await flows.ended(row.id))[0].output == "create Ada"
    await flows.app.resources.update("shop.orders", order["id"], {"net": "600.00"})
    rows = await until_started(flows, 2)
    assert (await flows.ended(rows[0].id))[0].output == "update Ada"
    await flows.workflows.disable("flow")
    assert await flows.app.resources.subscriptions.list("shop.orders") == []


async def test_a_schedule_starts_within_its_limit(slow_flows):
    trigger = {"type": "schedule", "interval_seconds": 60, "limit": 2}
    await slow_flows.save([calculate("at", "trigger.at")], trigger=trigger)
    await slow_flows.running.advance(300)
    await slow_flows.running.settled()
    assert len(await started(slow_flows)) == 2
    async with slow_flows.app.database.begin() as connection:
        await connection.execute(delete(executions))  # as their retention does
    await slow_flows.running.advance(300)
    await slow_flows.running.settled()
    assert await started(slow_flows) == []
    await slow_flows.save([calculate("at", "trigger.at")])  # by hand from now on
    assert "workflow.flow" not in {one.schedule.name for one in await slow_flows.app.schedules.list()}


async def test_no_workflow_takes_the_name_of_the_schedule_that_tidies_up(slow_flows):
    trigger = {"type": "schedule", "interval_seconds": 3600}
    await slow_flows.save([calculate("at", "trigger.at")], name="tidy", trigger=trigger)
    names = [one.schedule.name for one in await slow_flows.app.schedules.list()]
    assert sorted(name for name in names if name.startswith("workflow")) == ["workflow-process.tidy", "workflow.tidy"]


async def test_a_version_is_enabled_with_its_schedule_or_not_at_all(flows, monkeypatch):
    """A node that dies between any two statements leaves both as they were."""
    by_clock = {"type": "schedule", "interval_seconds": 86_400}

    async def standing():
        async with flows.app.database.connect() as connection:
            trigger_type = await connection.scalar(select(workflows.c.trigger_type).where(workflows.c.name == "flow"))
        names = [one.schedule.name for one in await flows.app.schedules.list()]
        return trigger_type, names.count("workflow.flow")

    async def interrupted(owner, name, call):
        async def dies(*args, **more):
            raise StoreError("the node dies here")

        with monkeypatch.context() as patch:
            patch.setattr(owner, name, dies)
            with pytest.raises(StoreError):
                await call()

    async def by_hand():
        await flows.save([calculate("a", "1")])

    async def scheduled():
        await flows.save([calculate("a", "1")], trigger=by_clock)

    async def enable():
        await flows.workflows.enable("flow", 2)

    async def disable():
        await flows.workflows.disable("flow")

    await by_hand()
    for owner, name in ((ScheduleDoor, "set"), (workflow_desk, "find_workflow")):
        await interrupted(owner, name, scheduled)
        assert await standing() == ("api", 0)
    await scheduled()
    assert await standing() == ("schedule", 1)
    for call in (by_hand, disable):
        await interrupted(ScheduleDoor, "remove", call)
        assert await standing() == ("schedule", 1)
    await disable()
    assert await standing() == (None, 0)
    await interrupted(ScheduleDoor, "set", enable)
    assert await standing() == (None, 0)
    await enable()
    assert await standing() == ("schedule", 1)


async def test_executions_of_ticks_that_are_caught_up_say_which_ticks_those_were(slow_flows):
    trigger = {"type": "schedule", "cron": "0 3 * * *", "timezone": "Europe/Berlin", "catch_up": "all"}
    stored = await slow_flows.save(
        [calculate("day", "timestamp(trigger.at).getDate('Europe/Berlin')")], trigger=trigger
    )
    assert stored.is_new
    (view,) = [one for one in await slow_flows.app.schedules.list() if one.schedule.name == "workflow.flow"]
    first = view.next_at - timedelta(days=3)
    async with slow_flows.app.database.begin() as connection:  # as if nobody had served the key for three days
        await connection.execute(update(schedules).where(schedules.c.name == "workflow.flow").values(next_at=first))
    now = slow_flows.running.clock.now()
    due = [first + timedelta(days=day) for day in range(4) if first + timedelta(days=day) <= now]
    assert len(due) >= 2
    await slow_flows.running.advance(20)
    rows = await until_started(slow_flows, len(due))
    assert sorted(row.trigger["at"] for row in rows) == [tick.strftime("%Y-%m-%dT%H:%M:%SZ") for tick in due]


async def test_a_schedule_that_is_over_starts_nothing(slow_flows):
    trigger = {"type": "schedule", "cron": "* * * * *", "end_at": "2001-01-01T00:00:00Z", "timezone": "Europe/Berlin"}
    await slow_flows.save([calculate("at", "trigger.at")], trigger=trigger)
    await slow_flows.running.advance(180)
    assert await started(slow_flows) == []


async def test_records_are_written_read_and_counted(flows):
    steps = [
        {
            "key": "made",
            "type": "resource.create",
            "resource": "shop.orders",
            "values": {"customer": "Ada", "net": "= '10.50'"},
        },
        {
            "key": "more",
            "type": "resource.create",
            "resource": "shop.orders",
            "values": {"customer": "Bob", "net": "4.50"},
        },
        {
            "key": "changed",
            "type": "resource.update",
            "resource": "shop.orders",
            "id": "= steps.made.id",
            "values": {"net": "20.50"},
        },
        {
            "key": "all",
            "type": "resource.query",
            "resource": "shop.orders",
            "sort": "id",
            "fields": ["customer", "net"],
        },
        {"key": "sum", "type": "resource.aggregate", "resource": "shop.orders", "function": "sum", "field": "net"},
        {"key": "high", "type": "resource.aggregate", "resource": "shop.orders", "function": "max", "field": "net"},
        {"key": "count", "type": "resource.aggregate", "resource": "shop.orders", "filter": {"customer": "Bob"}},
        {"key": "gone", "type": "resource.delete", "resource": "shop.orders", "id": "= steps.more.id"},
        {"key": "left", "type": "resource.aggregate", "resource": "shop.orders"},
    ]
    row, rows = await flows.run(steps, output="[steps.sum, double(steps.high), steps.count, steps.left]")
    assert (row.state, row.output) == ("succeeded", [25.0, 20.5, 1, 1]), row.reason
    assert rows["all", ""].output == [{"customer": "Ada", "net": "20.50"}, {"customer": "Bob", "net": "4.50"}]


async def test_a_record_that_does_not_fit_fails_its_step_and_nothing_else(flows):
    steps = [
        {
            "key": "bad",
            "type": "resource.create",
            "resource": "shop.orders",
            "values": {"nett": 1},
            "on_error": "continue",
        },
        {"key": "taken", "type": "resource.create", "resource": "shop.customers", "values": {"name": "Ada"}},
        {
            "key": "again",
            "type": "resource.create",
            "resource": "shop.customers",
            "values": {"name": "Ada"},
            "on_error": "continue",
        },
        calculate("codes", "[steps.bad.error.code, steps.again.error.code]"),
    ]
    row, _ = await flows.run(steps, output="steps.codes")
    assert (row.state, row.output) == ("succeeded", ["resource.values", "resource.conflict"]), row.reason
    assert await flows.app.resources.count("shop.customers") == 1


@pytest.fixture
async def server():
    """A server of this machine that remembers what it was asked."""
    seen = []

    async def answer(request):
        seen.append(request)
        kind = request.match_info["kind"]
        if kind == "busy" and len(seen) < 3:
            return web.Response(status=503)
        if kind == "away":
            return web.Response(status=302, headers={"Location": "http://169.254.169.254/latest"})
        if kind == "other":
            return web.Response(status=307, headers={"Location": f"http://localhost:{request.url.port}/ok"})
        if kind == "round":
            return web.Response(status=302, headers={"Location": "/round"})
        if kind == "large":
            return web.Response(body=b"x" * 50_000)
        if kind == "slow":
            await asyncio.sleep(30)
        if kind == "missing":
            return web.Response(status=404)
        return web.json_response({"got": await request.text(), "query": dict(request.query)})

    application = web.Application()
    application.router.add_route("*", "/{kind}", answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", seen
    await runner.cleanup()


async def test_http_sends_its_idempotency_key_and_reads_json(flows, server):
    url, seen = server
    step = {
        "key": "h",
        "type": "http",
        "method": "POST",
        "url": f"{url}/ok",
        "query": {"n": 1},
        "json": {"a": "= trigger.input"},
    }
    row, _ = await flows.run([step], 5, output="[steps.h.status, steps.h.body.got, steps.h.body.query.n]")
    assert (row.state, row.output) == ("succeeded", [200, '{"a": 5}', "1"]), row.reason
    assert seen[0].headers["Idempotency-Key"] == f"{row.id}:h:"


async def test_http_is_tried_again_with_the_same_key(flows, server):
    url, seen = server
    step = {"key": "h", "type": "http", "url": f"{url}/busy", "retry": {"attempts": 3, "delay_seconds": 0}}
    row, rows = await flows.run([step])
    assert (row.state, rows["h", ""].attempts, rows["h", ""].failures) == ("succeeded", 3, 2), row.reason
    assert len({request.headers["Idempotency-Key"] for request in seen}) == 1


@pytest.mark.parametrize(
    ("path", "more", "code"),
    [
        ("away", {}, "workflow.address_refused"),
        ("other", {}, "workflow.address_refused"),
        ("round", {}, "workflow.http_redirects"),
        ("large", {}, "workflow.limit"),
        ("missing", {"retry": {"attempts": 5}}, "workflow.http_status"),
        ("slow", {"timeout_seconds": 0.1}, "workflow.timeout"),
    ],
)
async def test_http_that_fails_says_how(flows, server, path, more, code):
    url, _ = server
    row, rows = await flows.run([{"key": "h", "type": "http", "url": f"{url}/{path}", **more}])
    assert (row.state, rows["h", ""].error["code"], rows["h", ""].attempts) == ("failed", code, 1), row.reason


async def test_http_reaches_nothing_that_is_not_public_unless_allowed(slow_flows, server):
    url, seen = server
    for target in (url, url.replace("127.0.0.1", "localhost"), "http://[::1]/", "http://0x7f.1/", "ftp://example.org/"):
        row, rows = await slow_flows.run([{"key": "h", "type": "http", "url": target}])
        assert (row.state, rows["h", ""].error["code"]) == ("failed", "workflow.address_refused"), target
    assert seen == []
    row, rows = await slow_flows.run([{"key": "h", "type": "http", "url": "http://nobody.invalid/"}])
    assert rows["h", ""].error["code"] == "workflow.http_connection"


async def test_cancel_reaches_a_running_step(flows, server):
    url, seen = server
    await flows.save([{"key": "h", "type": "http", "url": f"{url}/slow"}])
    execution = await flows.start()
    async with asyncio.timeout(20):
        while not seen:
            await asyncio.sleep(0.01)
    await flows.desk.cancel(execution, "enough")
    row, rows = await flows.ended(execution)
    assert (row.state, rows["h", ""].state) == ("cancelled", "cancelled")


async def test_a_signal_goes_on_beside_a_running_step(flows, server):
    url, _ = server
    branches = [[{"key": "h", "type": "http", "url": f"{url}/slow"}], [{"key": "s", "type": "signal", "name": "go"}]]
    await flows.save([{"key": "p", "type": "parallel", "mode": "any", "branches": branches}], output="steps.s")
    execution = await flows.start()
    await flows.until(execution, "running")
    await flows.desk.signal(execution, "go", "now", "tester")
    row, rows = await flows.ended(execution)
    assert (row.state, row.output, rows["p/0/h", ""].state) == ("succeeded", "now", "cancelled")


async def test_a_task_is_started_and_waited_for(flows):
    await flows.app.resources.create("shop.orders", {"customer": "Ada", "net": "5.00"})
    step = {"key": "file", "type": "task", "kind": "export", "params": {"resource": "shop.orders", "format": "csv"}}
    row, _ = await flows.run([step], output="steps.file.file.media_type", seconds=60)
    assert (row.state, row.output) == ("succeeded", "text/csv"), row.reason
