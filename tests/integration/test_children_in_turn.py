"""Jobs that are in a child for their own sake take turns there; real processes."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from integration.child_bench import AWAITED, FAULTY, PLAIN, Bench, gone, open_benches, perform
from integration.queue_bench import consuming, join_node, make_consumer, until
from plugins.acrobats import ACROBATS
from sqlalchemy import func, select, update

from nocohost.api.errors import ChildCrashedError, HandlerRaisedError
from nocohost.api.job import Job, Retry
from nocohost.api.log import Log
from nocohost.api.service import Service
from nocohost.child import idle
from nocohost.store.schema import history, jobs

LOOP = "acrobat:loop"
pytestmark = pytest.mark.timeout(180)
on_sqlite = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


@pytest.fixture(scope="session")
def acrobats(install_wheels: Callable[[Iterable[Any]], Path]) -> Path:
    return install_wheels([ACROBATS])


@pytest.fixture
async def bench(
    migrated_url: Callable[[], str], tmp_path: Path, log: Log, acrobats: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    monkeypatch.syspath_prepend(str(acrobats))
    async with open_benches(migrated_url, tmp_path, log) as make_bench:
        yield make_bench(keys=())


async def run(bench: Bench, do: str, key: str = PLAIN, *, crashes: int = 0, **more: Any) -> Any:
    """Run a handler in a child although its service does not ask for one."""
    isolation, handler = ("thread", perform) if key == PLAIN else ("loop", wait)
    return await bench.run(do, key, isolation=isolation, handler=handler, crashes=crashes, **more)


async def wait(job: Job) -> None:
    """What the node knows of an ``async`` handler."""


async def pid_of(bench: Bench, key: str = PLAIN, **more: Any) -> int:
    return int((await run(bench, "who", key, **more))["pid"])


@on_sqlite
@pytest.mark.parametrize("key", [PLAIN, LOOP])
async def test_one_child_serves_them_one_after_the_other(bench: Bench, key: str) -> None:
    first = await run(bench, "who", key, extra="one")
    assert bench.measured("nocohost_children", "idle") == 1
    assert await run(bench, "retry", key) == Retry(7), "whatever the handler returns or raises"
    with pytest.raises(HandlerRaisedError, match="no such trick"):
        await run(bench, "raise", key)
    second = await run(bench, "who", key, extra="two")
    assert second["pid"] == first["pid"] != os.getpid()
    assert [one["payload"]["extra"] for one in (first, second)] == ["one", "two"]
    assert second["lives"] == (["entered"] if key == PLAIN else []), "its app is opened once"


async def test_each_writes_under_its_own_claim(bench: Bench) -> None:
    for key in (PLAIN, LOOP):
        await run(bench, "write", key, seconds=0)
        await run(bench, "write", key, seconds=0)
        assert bench.measured("nocohost_children", "busy") == 0
    assert await bench.count() == 8, "four jobs and the four that they enqueued"
    bench.notes.unlink()
    running = asyncio.create_task(run(bench, "write", seconds=0.5))
    await bench.noted("begin")
    await bench.take_over()
    with pytest.raises(HandlerRaisedError, match="FenceLostError"):
        await running
    assert await bench.count() == 9


async def test_the_many_jobs_of_nodes_lost_twice_need_few_children(bench: Bench) -> None:
    queue, node = bench.parts.make_queue(), await join_node(bench.database, keys=(LOOP, AWAITED))
    for number in range(60):
        await queue.enqueue((LOOP, AWAITED)[number % 2], {"do": "who"})
    async with bench.database.begin() as connection:
        await connection.execute(update(jobs).values(losses=2))
    services = Service(LOOP, wait), Service(AWAITED, wait)
    consumer = make_consumer(bench.database, node, *services, poll_seconds=3600)
    consumer._attempts.rooms = bench.rooms.by_isolation
    async with consuming(consumer):
        await until(lambda: ended(bench, 60), 60.0)
    async with bench.database.connect() as connection:
        rows = (await connection.execute(select(history.c.state, history.c.value))).all()
    assert {row.state for row in rows} == {"succeeded"}
    assert len({row.value["pid"] for row in rows if "pid" in row.value}) <= bench.room.places


async def ended(bench: Bench, count: int) -> bool:
    async with bench.database.connect() as connection:
        return bool(await connection.scalar(select(func.count() == count).select_from(history)))


@on_sqlite
async def test_two_at_once_are_in_two_children(bench: Bench) -> None:
    assert len(set(await asyncio.gather(pid_of(bench), pid_of(bench)))) == 2
    assert bench.measured("nocohost_children", "idle") == 2


@on_sqlite
async def test_only_the_one_that_ran_is_to_blame_for_a_crash(bench: Bench) -> None:
    first = await pid_of(bench)
    with pytest.raises(ChildCrashedError, match="SIGSEGV") as caught:
        await run(bench, "segfault")
    assert "about to fall" in caught.value.stderr_tail
    await gone(first, 20)
    assert await pid_of(bench) != first, "and the next one begins in another"


@on_sqlite
async def test_whom_a_child_has_died_of_gets_one_of_its_own(bench: Bench) -> None:
    shared = await pid_of(bench)
    own = await pid_of(bench, crashes=1)
    assert own != shared
    await gone(own, 20)
    assert await pid_of(bench) == shared


@on_sqlite
async def test_isolated_services_share_nothing(bench: Bench) -> None:
    shared = await pid_of(bench)
    own = (await bench.run("who"))["pid"]
    assert own != shared
    await gone(own, 20)


@on_sqlite
async def test_a_child_that_dies_while_it_waits_is_no_job_s_fault(bench: Bench) -> None:
    first = await pid_of(bench)
    os.kill(first, signal.SIGKILL)
    second = await pid_of(bench)
    assert second != first
    os.kill(second, signal.SIGSTOP)
    running = asyncio.create_task(pid_of(bench))
    await asyncio.sleep(0.2)
    os.kill(second, signal.SIGKILL)
    assert await running != second


@on_sqlite
@pytest.mark.parametrize("key", [PLAIN, LOOP])
async def test_a_child_whose_handler_was_cancelled_takes_no_other(bench: Bench, key: str) -> None:
    running = asyncio.create_task(run(bench, "ask", key))
    pid = await bench.noted("begin")
    running.cancel()
    assert await asyncio.wait_for(running, 30) in ("stopped as asked", {"requested": False})
    assert await pid_of(bench, key) != pid
    await gone(pid, 20)


@on_sqlite
async def test_one_child_serves_many_keys_of_one_kind(bench: Bench) -> None:
    """Otherwise jobs of keys that alternate would cost a start each."""
    first = await pid_of(bench, LOOP)
    assert (await run(bench, "who", AWAITED))["serving"] is False
    assert bench.measured("nocohost_children", "idle") == 1
    assert await pid_of(bench, LOOP) == first
    plain = await run(bench, "who")
    assert plain["pid"] != first, "a plain handler has the main thread of its child"
    assert plain["modules"] == ["acrobats", "acrobats.declarations", "acrobats.plain", "acrobats.tricks"]


@on_sqlite
async def test_few_children_wait_and_not_for_long(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.room.idle, "_most", 1)
    first = await pid_of(bench)
    other = await pid_of(bench, LOOP)
    await gone(first, 20)
    assert bench.measured("nocohost_children", "idle") == 1
    monkeypatch.setattr(idle, "IDLE_SECONDS", 0.1)
    assert await pid_of(bench, LOOP) == other
    await gone(other, 20)
    assert bench.measured("nocohost_children", "idle") == 0
    last = await pid_of(bench)
    await bench.rooms.close()
    await gone(last, 20)


@on_sqlite
async def test_a_child_that_cannot_load_its_key_is_not_kept(bench: Bench) -> None:
    with pytest.raises(HandlerRaisedError, match=r"cannot serve acrobat:faulty: .*RuntimeError: not in a child"):
        await run(bench, "who", FAULTY)
    assert bench.measured("nocohost_children", "idle") == 0
