"""Many who start executions and wait for their ends, all at once: each gets its own, and looking costs little."""

import asyncio

import pytest
from flow_bench import Flows, calculate
from sqlalchemy import event
from sqlalchemy.engine import Engine

CALLERS = 200


@pytest.fixture
def statements():
    """The statements of this process that look at executions."""
    seen = []

    def note(connection, cursor, statement, *rest):
        if "FROM workflow_executions" in statement:
            seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield seen
    event.remove(Engine, "before_cursor_execute", note)


async def test_each_gets_its_own_end(node, database_url):
    async with node("", NOCOHOST_DATABASE__URL=database_url()) as running:
        flows = Flows(running)
        await flows.save([calculate("a", "trigger.input + 1")], output="steps.a")

        async def ask(number):
            row = await flows.desk.start("flow", number, "tester", waited=True)
            return (await flows.desk.wait(row.id, 30)).output

        assert await asyncio.gather(*map(ask, range(CALLERS))) == [number + 1 for number in range(CALLERS)]


async def test_they_share_what_looking_costs(node, statements):
    async with node("!") as running:
        flows = Flows(running)
        await flows.save([calculate("a", "1")])
        ids = [await flows.start() for _ in range(CALLERS)]
        statements.clear()
        rows = await asyncio.gather(*(flows.desk.wait(one, 2) for one in ids))
        assert {row.state for row in rows} == {"queued"}
        assert len(statements) < CALLERS + 20


async def test_an_end_is_noticed_though_no_signal_tells_of_it(node):
    async with node("") as running:
        flows = Flows(running)
        row, _ = await flows.run([calculate("a", "1")])
        waiting = asyncio.create_task(flows.desk.wait(row.id, 30))
        async with asyncio.timeout(30):
            assert (await waiting).state == "succeeded"
            assert (await asyncio.gather(*(flows.desk.wait(row.id, 30) for _ in range(3))))[2].id == row.id
