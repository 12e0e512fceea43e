"""Odd things that workflows meet: answers without a charset, values that no text holds, names that come back."""

from types import SimpleNamespace

import pytest
from aiohttp import web
from flow_bench import Flows, calculate
from sqlalchemy import text

from builtin_plugins.async_task import NewTask, TaskDesk
from builtin_plugins.workflow.errors import DefinitionError
from builtin_plugins.workflow.outside import Outside
from builtin_plugins.workflow.steps.task import TaskStep
from builtin_plugins.workflow.versions import list_workflows
from builtin_plugins.workflow.view import execution_json
from nocohost import PayloadError
from nocohost.api.job import JobState
from nocohost.store.endings import Ending, end_jobs
from nocohost.store.schema import history, jobs

ALLOWED = {"NOCOHOST_PLUGINS__WORKFLOW__HTTP_ALLOW": '["127.0.0.1"]'}
EXPORT = {"resource": "shop.orders", "format": "csv"}
ANSWERS = {
    "bare": "text/plain",
    "hal": "application/hal+json",
    "none": "",
    "codec": "text/plain; charset=hex",
    "unknown": "text/plain; charset=klingon",
    "punycode": "text/plain; charset=punycode",
    "half": "application/json",
    "latin": "text/plain; charset=iso-8859-1",
}


@pytest.fixture
async def flows(node, database_url):
    async with node("", NOCOHOST_DATABASE__URL=database_url(), **ALLOWED) as running:
        yield Flows(running)


@pytest.fixture
async def slow_flows(node):
    """On SQLite alone: there the database goes by the clock that the test turns."""
    async with node("", **ALLOWED) as running:
        yield Flows(running)


@pytest.fixture
async def server():
    async def answer(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        body = b"gr\xfcn" if name == "latin" else '{"a": "grün"}'.encode()
        body = b'"\\ud800"' if name == "half" else body
        response = web.Response(body=body)
        if ANSWERS[name]:
            response.headers["Content-Type"] = ANSWERS[name]
        return response

    application = web.Application()
    application.router.add_get("/{name}", answer)
    runner = web.AppRunner(application, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.mark.parametrize("name", ["bare", "none", "codec", "unknown", "punycode"])
async def test_an_answer_whose_charset_is_of_no_use_is_read_as_utf_8(slow_flows, server, name):
    row, rows = await slow_flows.run([{"key": "h", "type": "http", "url": f"{server}/{name}"}])
    assert (row.state, rows["h", ""].output and rows["h", ""].output["body"]) == ("succeeded", '{"a": "grün"}')


async def test_an_answer_is_read_by_its_media_type_and_charset(slow_flows, server):
    steps = [{"key": name, "type": "http", "url": f"{server}/{name}"} for name in ("hal", "latin")]
    row, _ = await slow_flows.run(steps, output="[steps.hal.body.a, steps.latin.body]")
    assert (row.state, row.output) == ("succeeded", ["grün", "grün"]), row.reason


@pytest.mark.parametrize("state", ["succeeded", "failed"])
@pytest.mark.parametrize("reason", ["a\x00b", 5, {"a": 1}, "x" * 5000])
async def test_an_end_has_a_reason_that_can_be_kept_whatever_was_given(flows, state, reason):
    end = {"key": "e", "type": "end", "state": state, "reason": "= trigger.input.reason"}
    row, _ = await flows.run([end], {"reason": reason})
    assert row.state in (state, "failed")
    assert isinstance(row.reason, str)
    assert len(row.reason) <= 2000


async def test_an_instant_beyond_the_calendar_fails_its_step(slow_flows):
    row, _ = await slow_flows.run([{"key": "w", "type": "wait_until", "at": "9999-12-31T23:59:59-12:00"}])
    assert (row.state, "no instant" in row.reason) == ("failed", True)


async def test_half_a_character_is_refused_and_fails_what_gave_it(slow_flows, server):
    row, rows = await slow_flows.run([{"key": "h", "type": "http", "url": f"{server}/half"}])
    assert (row.state, rows["h", ""].error["code"]) == ("failed", "workflow.value")
    with pytest.raises(PayloadError):
        await slow_flows.start("\ud800")
    with pytest.raises(DefinitionError):
        await slow_flows.save([{"key": "s", "type": "signal", "name": "\ud800"}])


async def test_a_delay_longer_than_its_timeout_fails(slow_flows):
    await slow_flows.save([{"key": "d", "type": "delay", "seconds": 3600, "timeout_seconds": 60}])
    execution = await slow_flows.start()
    await slow_flows.until(execution, "waiting")
    await slow_flows.running.advance(61)
    row, rows = await slow_flows.ended(execution)
    assert (row.state, rows["d", ""].error["code"]) == ("failed", "workflow.timeout")


async def test_what_a_step_waited_for_stops_when_its_time_is_over(slow_flows):
    await slow_flows.save([{"key": "s", "type": "signal", "name": "never"}], name="child")
    step = {"key": "w", "type": "workflow", "workflow": "child", "timeout_seconds": 60, "on_error": "continue"}
    await slow_flows.save([step, {"key": "s", "type": "signal", "name": "go"}])
    execution = await slow_flows.start()
    _, rows = await slow_flows.until(execution, "waiting")
    await slow_flows.running.advance(61)
    child, _ = await slow_flows.ended(rows["w", ""].reference)
    assert child.state == "cancelled"
    assert (await slow_flows.desk.show(execution)).row.is_open


@pytest.mark.parametrize("fate", [JobState.DEAD, "gone"])
async def test_a_task_that_is_over_before_it_is_stopped_keeps_no_execution_from_its_end(node, database_url, fate):
    async with node("!", NOCOHOST_DATABASE__URL=database_url()) as running:
        app = running.app
        async with app.database.begin() as connection:
            task_id = await TaskDesk(app).start_within(connection, NewTask("export", EXPORT), "tester")
            await end_jobs(connection, jobs.c.key == "async-task:process", Ending(JobState.DEAD, last_error="broken"))
            if fate == "gone":
                await connection.execute(history.delete())
        async with app.database.begin() as connection:
            await TaskStep().stop(app, connection, SimpleNamespace(reference=task_id))


async def test_a_workflow_that_is_made_anew_after_its_removal_is_the_new_one(flows):
    row, _ = await flows.run([calculate("a", "'old'")], output="steps.a")
    await flows.workflows.remove("flow")
    again, _ = await flows.run([calculate("a", "'new'")], output="steps.a")
    assert (row.output, again.output) == ("old", "new")
    await flows.workflows.remove("flow")
    async with flows.app.database.connect() as connection:
        assert await list_workflows(connection, limit=10, after=None) == []


@pytest.mark.parametrize("name", ["retry", "absent", "timeout"])
async def test_a_signal_may_be_called_as_it_likes(slow_flows, name):
    await slow_flows.save([{"key": "s", "type": "signal", "name": name}], output="steps.s")
    execution = await slow_flows.start()
    await slow_flows.until(execution, "waiting")
    await slow_flows.desk.signal(execution, name, 7, "tester")
    assert (await slow_flows.ended(execution))[0].output == 7


async def test_a_job_that_is_tried_again_later_wakes_nobody_meanwhile(slow_flows):
    step = {"key": "j", "type": "job", "job": "shop:invoice", "payload": {"order": "x"}}
    await slow_flows.save([{**step, "retry": {"attempts": 2, "delay_seconds": 3600}}])
    execution = await slow_flows.start()
    row, rows = await slow_flows.until(execution, "waiting")
    assert rows["j", ""].reference == "retry"
    await Outside(slow_flows.app)._look()
    assert (await slow_flows.desk.show(execution)).row.pokes == row.pokes


async def test_a_signal_that_nobody_waits_for_is_not_even_loaded(slow_flows):
    """A thousand of a megabyte may wait: the value of one is read when a step takes it."""
    await slow_flows.save([{"key": "s", "type": "signal", "name": "go"}], output="steps.s")
    execution = await slow_flows.start()
    await slow_flows.until(execution, "waiting")
    await slow_flows.desk.signal(execution, "other", "x", "tester")
    async with slow_flows.app.database.begin() as connection:
        await connection.execute(text("UPDATE workflow_signals SET value = 'no JSON'"))
    await slow_flows.desk.signal(execution, "go", 7, "tester")
    assert (await slow_flows.ended(execution))[0].output == 7


@pytest.mark.parametrize(
    ("step", "key"),
    [
        ({"type": "job", "job": "shop:invoice", "payload": {"order": 1}}, "shop:invoice"),
        (
            {"type": "task", "kind": "export", "params": {"resource": "shop.orders", "format": "csv"}},
            "async-task:process",
        ),
    ],
)
async def test_an_execution_that_waits_for_what_nobody_serves_says_so(node, database_url, step, key):
    async with node("workflow:process", NOCOHOST_DATABASE__URL=database_url()) as running:
        flows = Flows(running)
        await flows.save([{"key": "w", **step}])
        execution = await flows.start()
        await flows.until(execution, "waiting")
        shown = execution_json(await flows.desk.whole(execution))
    assert [one["code"] for one in shown["warnings"]] == ["key.unserved"]
    assert shown["reason"].startswith(f"no live node serves {key}")


async def test_a_megabyte_goes_through_an_execution(flows):
    """A context near the limit: read by many steps, kept, waited with, and refused beyond it."""
    value = {"text": "x" * 400_000, "items": [{"n": number, "word": "ü" * 100} for number in range(2_000)]}
    steps = [
        calculate("size", "size(trigger.input.text) + size(trigger.input.items)"),
        {"key": "go", "type": "signal", "name": "go"},
        calculate("kept", "trigger.input.items"),
        {"key": "l", "type": "loop", "count": 20, "do": [calculate("n", "steps.kept[7].n")]},
        calculate("total", "sum(steps.kept.map(one, one.n))"),
    ]
    await flows.save(steps, output="[steps.size, steps.total, steps.l.count]")
    execution = await flows.start(value)
    await flows.until(execution, "waiting")
    await flows.desk.signal(execution, "go", "y" * 1_000_000, "tester")
    row, _ = await flows.ended(execution)
    assert (row.state, row.output) == ("succeeded", [402_000, 1_999_000, 20]), row.reason
    with pytest.raises(PayloadError, match="at most"):
        await flows.start("x" * 1_100_000)
