"""Clocks: those of nodes that go wrong, and those on the wall, which change twice a year."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest
from flow_bench import Flows, calculate

from nocohost.testing.clock import FakeClock

BERLIN, SANTIAGO = "Europe/Berlin", "America/Santiago"


class FarClock(FakeClock):
    """A clock that goes as any other does, but stands an hour after that of the database."""

    def now(self):
        return datetime.now(UTC) + timedelta(hours=1)

    def monotonic(self):
        return time.monotonic()

    async def sleep(self, seconds):
        await asyncio.sleep(max(seconds, 0.0))


@pytest.fixture
def clock(request):
    """By which the nodes of a test go: it may say on which day that begins."""
    start = getattr(request, "param", None)
    return FarClock() if start is None else FakeClock(datetime.fromisoformat(start))


@pytest.fixture
async def far_flows(node, database_url):
    """A node whose own clock is wrong."""
    async with node("", NOCOHOST_DATABASE__URL=database_url()) as running:
        yield Flows(running)


@pytest.mark.parametrize("dialect", ["postgresql"])
async def test_a_wait_is_as_long_as_the_clock_of_the_database_says(far_flows):
    steps = [{"key": "rest", "type": "delay", "seconds": 0.5}, calculate("after", "1")]
    row, rows = await far_flows.run(steps, output="steps.after")
    assert (row.state, row.output) == ("succeeded", 1)
    waited = rows["rest", ""]
    assert abs(datetime.now(UTC) - waited.started_at) < timedelta(minutes=1)
    assert waited.wake_at is None
    assert waited.started_at + timedelta(seconds=0.5) <= row.finished_at


@pytest.mark.parametrize("dialect", ["postgresql"])
async def test_a_timeout_too(far_flows):
    row, _ = await far_flows.run([{"key": "s", "type": "signal", "name": "never"}], timeout_seconds=0.5)
    assert (row.state, row.reason) == ("timed_out", "it took longer than its timeout, 0.5 s")
    assert row.created_at <= row.started_at
    retried = await far_flows.desk.retry(row.id)
    assert abs(datetime.now(UTC) - retried.deadline_at) < timedelta(minutes=10)
    row, _ = await far_flows.ended(row.id)
    assert row.state == "timed_out"


@pytest.mark.parametrize(
    ("clock", "timezone", "cron", "at"),
    [
        # Berlin: 02:00 becomes 03:00. What 02:30 is for comes as the gap ends.
        ("2027-03-27T12:00:00Z", BERLIN, "30 2 * * *", "2027-03-28T01:00:00+00:00"),
        # Berlin: 03:00 becomes 02:00. 02:30 is shown twice, and counts once.
        ("2027-10-31T00:45:00Z", BERLIN, "30 2 * * *", "2027-11-01T01:30:00+00:00"),
        # Santiago: 00:00 becomes 01:00, so this Sunday has no midnight.
        ("2027-09-04T12:00:00Z", SANTIAGO, "0 0 * * *", "2027-09-05T04:00:00+00:00"),
    ],
    indirect=["clock"],
)
async def test_a_schedule_goes_by_the_clocks_on_its_wall(node, timezone, cron, at):
    async with node("") as running:
        flows = Flows(running)
        await flows.save([calculate("a", "1")], trigger={"type": "schedule", "cron": cron, "timezone": timezone})
        (view,) = [one for one in await flows.app.schedules.list() if one.schedule.name == "workflow.flow"]
        assert view.next_at.isoformat() == at


@pytest.mark.parametrize("clock", ["2027-03-28T00:59:30Z"], indirect=True)
@pytest.mark.parametrize(
    "at",
    [
        "2027-03-28T02:00:10+01:00",
        "2027-03-28T03:00:10+02:00",
        "= timestamp('2027-03-28T00:59:30Z') + duration('40s')",
        "= timestamp(trigger.input) + duration('24h')",
    ],
)
async def test_an_instant_is_waited_for_whatever_clocks_on_the_wall_show(node, at):
    async with node("") as running:
        flows = Flows(running)
        await flows.save([{"key": "w", "type": "wait_until", "at": at}], output="steps.w")
        execution = await flows.start("2027-03-27T02:00:10+01:00")
        await flows.until(execution, "waiting")
        await running.advance(39)
        assert (await flows.desk.show(execution)).row.state == "waiting"
        await running.advance(2)
        assert (await flows.ended(execution))[0].state == "succeeded"


@pytest.mark.parametrize("clock", ["2027-03-28T00:59:30Z"], indirect=True)
async def test_expressions_know_zones(node):
    async with node("") as running:
        hours = [f"timestamp('2027-03-28T{time}Z').getHours('Europe/Berlin')" for time in ("00:59:00", "01:00:00")]
        row, _ = await Flows(running).run([calculate("a", f"[{', '.join(hours)}]")], output="steps.a")
        assert (row.state, row.output) == ("succeeded", [1, 3])
