"""Workflows on a node that serves everything, on both databases: what each type of step does, and what is stored."""

import pytest
from flow_bench import Flows, calculate


@pytest.fixture
async def flows(node, database_url):
    async with node("", NOCOHOST_DATABASE__URL=database_url()) as running:
        yield Flows(running)


@pytest.fixture
async def slow_flows(node):
    """On SQLite alone: there the database goes by the clock that the test turns."""
    async with node("") as running:
        yield Flows(running)


async def test_pure_steps_are_evaluated_and_stored(flows):
    steps = [
        calculate("tax", "double(trigger.input.total) * 0.19"),
        {
            "key": "big",
            "type": "condition",
            "if": "steps.tax > 10.0",
            "then": [calculate("word", "'big'")],
            "else": [calculate("other", "'small'")],
        },
        {
            "key": "lines",
            "type": "loop",
            "over": "trigger.input.lines",
            "as": "line",
            "do": [calculate("doubled", "line * 2 + line_index")],
        },
    ]
    row, rows = await flows.run(steps, {"total": 100, "lines": [1, 2, 3]}, output="[steps.word, steps.lines.values]")
    assert (row.state, row.reason) == ("succeeded", None)
    assert row.output == ["big", [2, 5, 8]]
    assert rows["tax", ""].output == 19.0
    assert {place: one.output for place, one in rows.items() if place[0] == "lines/do/doubled"} == {
        ("lines/do/doubled", "0"): 2,
        ("lines/do/doubled", "1"): 5,
        ("lines/do/doubled", "2"): 8,
    }
    assert all(one.finished_at is not None and one.node for one in rows.values())


async def test_a_whole_double_is_a_double_after_a_wait_too(flows):
    steps = [
        calculate("half", "double(trigger.input.total) / 2.0"),
        {"key": "go", "type": "signal", "name": "go"},
        calculate("again", "steps.half * steps.go"),
    ]
    await flows.save(steps, output="steps.again")
    execution = await flows.start({"total": 100})
    await flows.until(execution, "waiting")
    await flows.desk.signal(execution, "go", 2.0, "tester")
    row, rows = await flows.ended(execution)
    assert (row.state, row.reason, row.output, type(row.output)) == ("succeeded", None, 100.0, float)
    assert type(rows["half", ""].output) is float


async def test_a_failed_expression_says_where(flows):
    row, rows = await flows.run([calculate("a", "trigger.input.missing")], {})
    assert row.state == "failed"
    assert row.reason.startswith("a: ")
    assert rows["a", ""].error["code"] == "workflow.expression"


async def test_delays_wait_without_a_job_and_go_on_later(slow_flows):
    await slow_flows.save([{"key": "rest", "type": "delay", "seconds": 3600}, calculate("after", "1")])
    execution = await slow_flows.start()
    row, rows = await slow_flows.until(execution, "waiting")
    assert (row.driver, rows["rest", ""].state) == (None, "waiting")
    await slow_flows.running.advance(3601)
    row, rows = await slow_flows.ended(execution)
    assert (row.state, rows["after", ""].output) == ("succeeded", 1)


async def test_a_signal_is_taken_before_or_after_the_step_waits(flows):
    steps = [
        {"key": "first", "type": "signal", "name": "go"},
        {"key": "second", "type": "signal", "name": "go"},
    ]
    await flows.save(steps, output="[steps.first, steps.second]")
    execution = await flows.start()
    await flows.until(execution, "waiting")
    await flows.desk.signal(execution, "go", {"by": 1}, "tester")
    await flows.desk.signal(execution, "go", {"by": 2}, "tester")
    row, _ = await flows.ended(execution)
    assert (row.state, row.output) == ("succeeded", [{"by": 1}, {"by": 2}])


async def test_a_workflow_waits_for_another(flows):
    await flows.save([calculate("twice", "trigger.input * 2")], name="inner", output="steps.twice")
    steps = [{"key": "call", "type": "workflow", "workflow": "inner", "input": "= trigger.input + 1"}]
    row, rows = await flows.run(steps, 20, name="outer", output="steps.call")
    assert (row.state, row.output) == ("succeeded", 42), row
    child = (await flows.desk.show(rows["call", ""].reference)).row
    assert (child.parent, child.depth, child.created_by) == (row.id, 1, "tester")


async def test_a_failed_workflow_fails_the_step_that_waits_for_it(flows):
    await flows.save([{"key": "no", "type": "end", "state": "failed", "reason": "not today"}], name="inner")
    row, rows = await flows.run([{"key": "call", "type": "workflow", "workflow": "inner"}], name="outer")
    assert (row.state, rows["call", ""].error["message"]) == ("failed", "not today")


async def test_a_workflow_that_starts_itself_ends_at_its_depth(flows):
    steps = [{"key": "again", "type": "workflow", "workflow": "flow"}]
    row, _ = await flows.run(steps)
    assert row.state == "failed"
    assert "limit: max_depth" in row.reason


async def test_a_job_and_its_value(flows):
    steps = [{"key": "job", "type": "job", "job": "workflow:process", "payload": {}}]
    row, rows = await flows.run(steps, output="steps.job.removed")
    assert (row.state, row.output) == ("succeeded", 0), row
    assert rows["job", ""].reference is not None


async def test_a_job_that_cannot_be_enqueued_fails_its_step_alone(flows):
    steps = [
        {"key": "job", "type": "job", "job": "= 'nobody:' + 'knows'", "on_error": "continue"},
        calculate("code", "steps.job.error.code"),
    ]
    row, _ = await flows.run(steps, output="steps.code")
    assert (row.state, row.output) == ("succeeded", "queue.unknown_key"), row


async def test_branches_wait_side_by_side(flows):
    branches = [
        [{"key": "slow", "type": "delay", "seconds": 7200}],
        [{"key": "sent", "type": "signal", "name": "go"}, calculate("after", "steps.sent + 1")],
    ]
    await flows.save([{"key": "both", "type": "parallel", "mode": "any", "branches": branches}], output="steps.both")
    execution = await flows.start()
    await flows.until(execution, "waiting")
    await flows.desk.signal(execution, "go", 1, "tester")
    row, rows = await flows.ended(execution)
    assert (row.state, row.output) == ("succeeded", {"winner": 1, "failed": []})
    assert (rows["both/0/slow", ""].state, rows["both/1/after", ""].output) == ("cancelled", 2)


async def test_cancel_ends_what_waits_and_its_children(flows):
    await flows.save([{"key": "rest", "type": "delay", "seconds": 3600}], name="inner")
    await flows.save([{"key": "call", "type": "workflow", "workflow": "inner"}], name="outer")
    execution = await flows.start(name="outer")
    _, rows = await flows.until(execution, "waiting")
    await flows.desk.cancel(execution, "enough")
    row, _ = await flows.ended(execution)
    assert (row.state, row.reason) == ("cancelled", "enough")
    child, inner = await flows.ended(rows["call", ""].reference)
    assert (child.state, inner["rest", ""].state) == ("cancelled", "cancelled")


async def test_an_execution_takes_no_longer_than_it_may(slow_flows):
    await slow_flows.save([{"key": "rest", "type": "delay", "seconds": 3600}], timeout_seconds=60)
    execution = await slow_flows.start()
    await slow_flows.until(execution, "waiting")
    await slow_flows.running.advance(61)
    row, rows = await slow_flows.ended(execution)
    assert (row.state, rows["rest", ""].state) == ("timed_out", "cancelled")


async def test_a_failed_execution_goes_on_from_what_failed(flows):
    steps = [
        calculate("before", "1"),
        {"key": "call", "type": "workflow", "workflow": "inner"},
        calculate("after", "steps.call + steps.before"),
    ]
    await flows.save([{"key": "no", "type": "end", "state": "failed"}], name="inner")
    row, rows = await flows.run(steps, name="outer", output="steps.after")
    assert row.state == "failed"
    first = rows["before", ""].finished_at
    await flows.save([calculate("value", "41")], name="inner", output="steps.value")
    await flows.desk.retry(row.id)
    row, rows = await flows.ended(row.id)
    assert (row.state, row.output, rows["before", ""].finished_at) == ("succeeded", 42, first)


async def test_an_execution_can_begin_anew_from_a_step_or_the_start(flows):
    steps = [
        {"key": "each", "type": "loop", "count": 3, "as": "i", "do": [calculate("inner", "i * 10")]},
        calculate("bad", "1 / trigger.input"),
    ]
    row, _ = await flows.run(steps, 0)
    assert row.state == "failed"
    await flows.desk.retry(row.id, "each/do/inner")
    row, rows = await flows.ended(row.id)
    assert (row.state, row.turn, rows["each", ""].output["values"]) == ("failed", 1, [0, 10, 20])
    await flows.desk.retry(row.id, "")
    row, rows = await flows.ended(row.id)
    assert (row.state, row.turn, len(rows)) == ("failed", 2, 5)


async def test_an_input_comes_back_for_its_idempotency_key(flows):
    await flows.save([calculate("a", "1")])
    first = await flows.start({"x": 1}, idempotency_key="k")
    assert await flows.start({"x": 1}, idempotency_key="k") == first
    with pytest.raises(Exception, match="another input"):
        await flows.start({"x": 2}, idempotency_key="k")


async def test_run_and_wait(flows):
    await flows.save([calculate("a", "trigger.input + 1")], output="steps.a")
    row = await flows.desk.start("flow", 1, "tester", waited=True)
    done = await flows.desk.wait(row.id, 10.0)
    assert (done.state, done.output) == ("succeeded", 2)
