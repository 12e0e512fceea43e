"""Executions whose definition cannot be read here: they wait without a job, can be cancelled, and their time runs."""

import asyncio

import pytest
from flow_bench import Flows, calculate
from sqlalchemy import update

from builtin_plugins.workflow.library import Library
from builtin_plugins.workflow.tables import versions

SIGNAL = {"key": "s", "type": "signal", "name": "go"}
DISCOUNT = {"key": "d", "type": "shop.discount", "customer": "Ada"}


@pytest.fixture
async def flows(node):
    async with node("") as running:
        yield Flows(running)


@pytest.fixture
def forget_type(monkeypatch):
    """Let the plugin be gone that declares ``shop.discount``; what was read before is forgotten."""
    known, find = Library.forms.fget, Library.find

    async def find_anew(library, connection, name, number):
        library._read.clear()
        return await find(library, connection, name, number)

    monkeypatch.setattr(Library, "known", lambda library, name, number: None)
    monkeypatch.setattr(Library, "find", find_anew)
    gone = property(lambda one: {kind: form for kind, form in known(one).items() if kind != "shop.discount"})
    return lambda: monkeypatch.setattr(Library, "forms", gone)


async def stand(flows, execution):
    """Wait until it stands still, and return it."""
    async with asyncio.timeout(10):
        while True:
            row, rows = await flows.until(execution, "waiting")
            if row.reason is not None and row.driver is None:
                return row, rows
            await asyncio.sleep(0.02)


async def test_it_is_cancelled_at_once_with_what_it_waited_for(flows, forget_type):
    await flows.save([SIGNAL], name="child")
    call = {"key": "w", "type": "workflow", "workflow": "child"}
    await flows.save([{"key": "p", "type": "parallel", "branches": [[call], [SIGNAL, DISCOUNT]]}])
    execution = await flows.start()
    _, rows = await flows.until(execution, "waiting")
    forget_type()
    await flows.desk.signal(execution, "go", 1, "tester")
    row, _ = await stand(flows, execution)
    assert "shop.discount" in row.reason
    await flows.desk.cancel(execution, "enough")
    row, after = await flows.ended(execution, seconds=5)
    assert (row.state, row.reason, {one.state for one in after.values()}) == ("cancelled", "enough", {"cancelled"})
    child, _ = await flows.ended(rows["p/0/w", ""].reference, seconds=5)
    assert child.state == "cancelled"


@pytest.mark.parametrize("is_begun", [False, True])
async def test_its_time_runs(flows, forget_type, is_begun):
    await flows.save([SIGNAL, DISCOUNT], timeout_seconds=20)
    if not is_begun:
        forget_type()
    execution = await flows.start()
    if is_begun:
        await flows.until(execution, "waiting")
        forget_type()
        await flows.desk.signal(execution, "go", 1, "tester")
    await stand(flows, execution)
    await flows.running.advance(21)
    row, _ = await flows.ended(execution, seconds=5)
    assert (row.state, row.reason) == ("timed_out", "it took longer than its timeout, 20 s")


async def test_a_definition_of_a_newer_format_waits_until_it_can_be_read(flows, forget_type):
    """An older node may take an execution of a workflow that a newer one has stored."""
    await flows.save([calculate("a", "1")])
    async with flows.app.database.begin() as connection:
        await connection.execute(update(versions).values(definition={"version": 2, "name": "flow"}))
    execution = await flows.start()
    row, _ = await stand(flows, execution)
    assert row.reason == "waiting: /version: 2 is newer than 1"
    good = {"version": 1, "name": "flow", "trigger": {"type": "api"}, "steps": [calculate("a", "1")]}
    async with flows.app.database.begin() as connection:
        await connection.execute(update(versions).values(definition=good))
    await flows.running.advance(31)
    assert (await flows.ended(execution))[0].state == "succeeded"
