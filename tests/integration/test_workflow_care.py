"""The care for executions: limits by settings, steps of other plugins, drivers that are gone, retention."""

from dataclasses import replace
from datetime import timedelta

import pytest
from flow_bench import Flows, calculate
from sqlalchemy import select, update

from builtin_plugins.workflow import StepFailedError
from builtin_plugins.workflow.retention import settle, tidy
from builtin_plugins.workflow.step_runs import StepRuns
from builtin_plugins.workflow.tables import executions, steps

SETTINGS = {
    "NOCOHOST_PLUGINS__WORKFLOW__CONCURRENCY": "10",
    "NOCOHOST_PLUGINS__WORKFLOW__MAX_STEPS": "20",
    "NOCOHOST_PLUGINS__WORKFLOW__MAX_VALUES_MIB": "1",
    "NOCOHOST_PLUGINS__WORKFLOW__MAX_DEPTH": "2",
    "NOCOHOST_PLUGINS__WORKFLOW__TIMEOUT_SECONDS": "3600",
    "NOCOHOST_PLUGINS__WORKFLOW__RETENTION_SECONDS": "86400",
    "NOCOHOST_PLUGINS__WORKFLOW__FAILED_RETENTION_SECONDS": "172800",
}


@pytest.fixture
async def flows(node):
    async with node("", **SETTINGS) as running:
        yield Flows(running)


@pytest.fixture
async def front(node):
    async with node("!") as running:
        yield Flows(running)


async def test_an_execution_ends_where_its_values_have_no_room(flows):
    steps = [{"key": "l", "type": "loop", "count": 9, "do": [calculate("a", "trigger.input"), calculate("b", "1")]}]
    row, rows = await flows.run(steps, "x" * 300_000)
    assert (row.state, row.reason) == (
        "failed",
        "l: l/do/a: limit: max_values_mib: the values of all steps together have at most 1 MiB",
    )
    assert [place for place, one in rows.items() if one.output == "x" * 300_000] == [
        ("l/do/a", str(n)) for n in range(3)
    ]
    again = await flows.desk.retry(row.id)
    row, _ = await flows.ended(again.id)
    assert row.reason.startswith("l: l/do/a: limit: max_values_mib: "), "what is stored counts too"


async def test_an_execution_ends_at_the_limits_of_the_settings(flows):
    row, _ = await flows.run([{"key": "l", "type": "loop", "count": 100, "do": [calculate("a", "1")]}])
    assert (row.state, row.reason.startswith("limit: max_steps")) == ("failed", True)
    row, _ = await flows.run([{"key": "again", "type": "workflow", "workflow": "flow"}])
    assert row.reason.endswith("at most 2 deep")
    await flows.save([{"key": "s", "type": "signal", "name": "never"}])
    execution = await flows.start()
    await flows.until(execution, "waiting")
    await flows.running.advance(3601)
    assert (await flows.ended(execution))[0].state == "timed_out"


async def test_what_is_over_goes_after_its_retention(flows):
    good, _ = await flows.run([calculate("a", "1")])
    bad, _ = await flows.run([calculate("a", "1 / 0")])
    await age(flows, 86_400 + 120)
    assert (await tidy(flows.app))["removed"] == 1
    assert await kept(flows) == {bad.id}
    assert good.id != bad.id
    await age(flows, 172_800 + 120)
    assert (await tidy(flows.app))["removed"] == 1
    assert await kept(flows) == set()


async def age(flows, seconds):
    async with flows.app.database.begin() as connection:
        finished_at = flows.app.clock.now() - timedelta(seconds=seconds)
        await connection.execute(update(executions).values(finished_at=finished_at))


async def kept(flows):
    async with flows.app.database.connect() as connection:
        found = set((await connection.execute(select(executions.c.id))).scalars())
        assert set((await connection.execute(select(steps.c.execution))).scalars()) <= found
    return found


async def test_a_step_of_another_plugin_runs(flows):
    for _ in range(3):
        await flows.app.resources.create("shop.orders", {"customer": "Ada", "net": "5.00"})
    row, _ = await flows.run(
        [{"key": "d", "type": "shop.discount", "customer": "= trigger.input"}], "Ada", output="steps.d"
    )
    assert (row.state, row.output) == ("succeeded", {"orders": 3, "percent": 3.0}), row.reason
    row, rows = await flows.run([{"key": "d", "type": "shop.discount", "customer": "= ''"}])
    assert (row.state, rows["d", ""].error["code"]) == ("failed", "workflow.params")


async def test_a_step_whose_type_is_gone_waits_and_says_so(flows, monkeypatch):
    """``register_step_types`` of a plugin may fail on a node; its steps wait, and go on once it is back."""
    effect = StepRuns.effect
    monkeypatch.setattr(StepRuns, "effect", lambda runs, kind: None if kind == "shop.discount" else effect(runs, kind))
    await flows.save([{"key": "d", "type": "shop.discount", "customer": "Ada"}])
    execution = await flows.start()
    row, rows = await flows.until(execution, "waiting")
    assert row.reason == "waiting: step type shop.discount not available"
    assert rows["d", ""].error["code"] == "workflow.step_absent"
    monkeypatch.undo()
    await flows.running.advance(31)
    assert (await flows.ended(execution))[0].state == "succeeded"


async def test_a_version_whose_type_is_no_longer_declared_waits_and_says_so(flows, monkeypatch):
    from builtin_plugins.workflow.library import Library

    await flows.save([{"key": "d", "type": "shop.discount", "customer": "Ada"}])
    known = Library.forms.fget
    monkeypatch.setattr(
        Library, "forms", property(lambda one: {k: form for k, form in known(one).items() if k != "shop.discount"})
    )
    execution = await flows.start()
    row, _ = await flows.until(execution, "waiting")
    assert "no installed plugin declares steps of type 'shop.discount'" in row.reason
    monkeypatch.undo()
    await flows.running.advance(31)
    assert (await flows.ended(execution))[0].state == "succeeded"


async def raising(call, app):
    raise ValueError("broken")


async def failing(call, app):
    raise StepFailedError("never", retryable=False)


async def strange(call, app):
    return {"value": object()}


@pytest.mark.parametrize(
    ("run", "code"),
    [(raising, "workflow.step_raised"), (failing, "workflow.step_failed"), (strange, "workflow.value")],
)
async def test_what_a_step_raises_or_returns_is_told(flows, monkeypatch, run, code):
    effect = StepRuns.effect
    monkeypatch.setattr(StepRuns, "effect", lambda runs, kind: replace(effect(runs, kind), run=run))
    row, rows = await flows.run([{"key": "d", "type": "shop.discount", "customer": "Ada"}])
    assert (row.state, rows["d", ""].error["code"]) == ("failed", code)


@pytest.mark.parametrize(("fate", "state"), [("cancelled", "cancelled"), ("dropped", "succeeded")])
async def test_an_execution_whose_driver_is_gone_is_settled(front, node, fate, state):
    await front.save([calculate("a", "1")])
    execution = await front.start()
    driver = (await front.desk.show(execution)).row.driver
    await front.app.queue.cancel(driver)
    if fate == "dropped":
        async with front.app.database.begin() as connection:
            gone = "00000000-0000-7000-8000-000000000000"
            await connection.execute(update(executions).where(executions.c.id == execution).values(driver=gone))
    assert await settle(front.app) == 1
    assert await settle(front.app) == 0
    async with node("workflow:process"):
        assert (await front.ended(execution))[0].state == state


async def test_a_wait_of_months_is_a_row(flows):
    await flows.save([{"key": "long", "type": "delay", "seconds": 90 * 86_400}], timeout_seconds=300 * 86_400)
    execution = await flows.start()
    _, rows = await flows.until(execution, "waiting")
    assert rows["long", ""].wake_at - rows["long", ""].started_at == timedelta(days=90)


async def test_instants_know_their_time_zone(flows):
    for at, state in (("2001-01-01T00:00:00Z", "succeeded"), ("2001-01-01T00:00:00", "failed"), ("tomorrow", "failed")):
        row, _ = await flows.run([{"key": "w", "type": "wait_until", "at": at}])
        assert row.state == state
    row, _ = await flows.run([{"key": "d", "type": "delay", "seconds": -5}])
    assert row.state == "succeeded"


async def test_a_signal_that_does_not_come_fails_its_step(flows):
    step = {"key": "s", "type": "signal", "name": "go", "timeout_seconds": 60, "on_error": "continue"}
    await flows.save([step], output="steps.s.error.code")
    execution = await flows.start()
    await flows.until(execution, "waiting")
    await flows.running.advance(61)
    assert (await flows.ended(execution))[0].output == "workflow.timeout"
