"""Handlers in children, real processes: what comes back, how they die, how they are cancelled, what they may write."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from integration.child_bench import AWAITED, FAULTY, PLAIN, Bench, gone, open_benches, perform
from plugins.acrobats import ACROBATS
from sqlalchemy import select

from nocohost.api.errors import ChildCrashedError, HandlerRaisedError
from nocohost.api.job import DeadLetter, Job, Retry, Snooze
from nocohost.api.log import Log
from nocohost.api.service import Service
from nocohost.child import room as child_room
from nocohost.child.room import ChildRoom
from nocohost.queue.claim import HeldClaim
from nocohost.store.schema import jobs

BOTH = pytest.mark.parametrize("key", [PLAIN, AWAITED])
pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="session")
def acrobats(install_wheels: Callable[[Iterable[Any]], Path]) -> Path:
    return install_wheels([ACROBATS])


@pytest.fixture
async def make_bench(
    migrated_url: Callable[[], str], tmp_path: Path, log: Log, acrobats: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., Bench]]:
    monkeypatch.syspath_prepend(str(acrobats))
    async with open_benches(migrated_url, tmp_path, log) as make_bench:
        yield make_bench


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench()


on_sqlite = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


@on_sqlite
async def test_a_child_serves_nothing_and_has_only_what_its_key_needs(bench: Bench) -> None:
    seen = await bench.run("who", extra=[1, 2.5, None, "ü\u2028", 10**30])
    assert (seen["mode"], seen["env"], seen["serving"], seen["requests"]) == ("-", "-", False, False)
    assert seen["modules"] == ["acrobats", "acrobats.declarations", "acrobats.plain", "acrobats.tricks"], (
        "no module of another key"
    )
    assert seen["aiohttp"] is False
    assert seen["lives"] == ["entered"]
    assert seen["main"] == "MainThread", "signals and libraries that need it work"
    assert (seen["attempt"], seen["fence"], seen["node"]) == (2, 7, bench.parts.app.node.id)
    assert seen["payload"]["extra"] == [1, 2.5, None, "ü\u2028", 10**30]
    assert seen["pid"] != os.getpid()
    assert (await bench.run("who", AWAITED)) == {"main": "MainThread", "serving": False}


@on_sqlite
@pytest.mark.parametrize(("count", "places"), [(None, 2), (1, 2), (8, 8)])
async def test_the_jobs_of_lost_nodes_have_few_places(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, count: int | None, places: int
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: count)
    assert ChildRoom(bench.room.spares, log=bench.parts.log).places == places


@on_sqlite
@BOTH
async def test_every_outcome_comes_back(bench: Bench, key: str) -> None:
    outcomes = await asyncio.gather(*(bench.run(do, key) for do in ("retry", "snooze", "dead", "a value", "print")))
    assert outcomes == [Retry(7), Snooze(3), DeadLetter("never"), "a value", "survived"]


@on_sqlite
@BOTH
async def test_what_a_handler_raises_comes_back_as_text(bench: Bench, key: str) -> None:
    traces = []

    async def text(do: str) -> str:
        with pytest.raises(HandlerRaisedError) as caught:
            await bench.run(do, key)
        traces.append(caught.value.trace)
        return caught.value.message

    texts = await asyncio.gather(text("raise"), text("exit"), text("odd"), text("interrupt"))
    assert texts[:2] == ["ValueError: no such trick", "SystemExit: 3"]
    assert texts[3] == "KeyboardInterrupt: own"
    assert texts[2].startswith("what the handler returned is not JSON: the whole is a set; return None, a JSON value")
    assert any('raise ValueError("no such trick")' in trace for trace in traces)


@on_sqlite
@BOTH
async def test_a_child_that_dies_says_how(bench: Bench, key: str) -> None:
    async def crash(do: str, memory_mib: int | None = None) -> ChildCrashedError:
        with pytest.raises(ChildCrashedError) as caught:
            await bench.run(do, key, memory_mib=memory_mib)
        return caught.value

    fallen, ended, killed, hog = await asyncio.gather(
        crash("segfault"), crash("_exit"), crash("kill"), crash("hog", 200)
    )
    assert (fallen.exit_code, fallen.signal) == (None, signal.SIGSEGV)
    assert fallen.message.startswith("the child was killed by SIGSEGV; its last lines:\nabout to fall\n")
    assert "tricks.py" in fallen.stderr_tail, "the stack of the crash is among the last lines"
    assert (ended.exit_code, ended.signal) == (3, None)
    assert ended.message == "the child exited with code 3 before its handler ended"
    assert killed.signal == signal.SIGTERM
    assert hog.message == "the child used up its memory (memory_mib is 200)"


@on_sqlite
async def test_what_a_child_prints_goes_to_the_log(bench: Bench, log_lines: Any) -> None:
    assert await bench.run("print") == "survived", "nothing that is printed is taken for an answer"
    said = [(line["stream"], line["line"]) for line in log_lines.entries if line["event"] == "child.said"]
    assert ("stdout", "a line on stdout") in said
    assert ("stderr", "a line on stderr") in said
    assert ("stdout", '{"kind": "returned", "value": "forged"}') in said
    assert any("left out" in line for _, line in said)
    assert all(line["key"] == PLAIN for line in log_lines.entries if line["event"] == "child.said")


@on_sqlite
async def test_a_limit_that_leaves_no_room_is_refused(bench: Bench) -> None:
    with pytest.raises(HandlerRaisedError, match=r"memory_mib is 20, of which a child has \d+ before its handler"):
        await bench.run("who", memory_mib=20)


@on_sqlite
async def test_a_key_that_cannot_be_loaded_in_a_child_says_why(bench: Bench) -> None:
    with pytest.raises(HandlerRaisedError, match=r"cannot serve acrobat:faulty: .*RuntimeError: not in a child"):
        await bench.run("who", FAULTY)


@on_sqlite
@BOTH
async def test_a_cancelled_handler_may_end_in_good_order(bench: Bench, key: str) -> None:
    running = asyncio.create_task(bench.run("ask", key))
    await bench.noted("begin")
    running.cancel()
    assert await asyncio.wait_for(running, 30) in ("stopped as asked", {"requested": False})


@on_sqlite
async def test_a_person_who_cancels_is_told_from_a_timeout(bench: Bench) -> None:
    order = await bench.claim(AWAITED, {"do": "ask", "notes": str(bench.notes)})
    claim = HeldClaim(bench.database, order)
    job = Job(order.id, AWAITED, order.payload, claim=claim)
    running = asyncio.create_task(bench.room.run(Service(AWAITED, perform, isolation="process"), job, order))
    await bench.noted("begin")
    claim.request_cancel()
    running.cancel()
    assert await asyncio.wait_for(running, 30) == {"requested": True}


@on_sqlite
async def test_a_plain_handler_that_blocks_ends_by_term(bench: Bench) -> None:
    """It does not hear that it is asked; SIGTERM interrupts it, and its ``finally`` runs."""
    running = asyncio.create_task(bench.run("sleep", seconds=600))
    await bench.noted("begin")
    running.cancel()
    with pytest.raises(HandlerRaisedError, match="SystemExit: 143"):
        await asyncio.wait_for(running, 30)
    await bench.noted("finally")


@on_sqlite
@BOTH
@pytest.mark.parametrize("impatient", [False, True])
async def test_a_deaf_handler_is_killed(
    bench: Bench, key: str, impatient: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_room, "ASK_SECONDS", 0.2)
    monkeypatch.setattr(child_room, "TERM_SECONDS", 60.0 if impatient else 0.3)
    running = asyncio.create_task(bench.run("deaf", key))
    pid = await bench.noted("begin")
    running.cancel()
    if impatient:
        await asyncio.sleep(0.5)
        assert not running.done()
        running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 30)
    await gone(pid, 20)


@on_sqlite
async def test_killing_the_children_ends_their_attempts(bench: Bench) -> None:
    running = asyncio.create_task(bench.run("deaf"))
    pid = await bench.noted("begin")
    assert bench.measured("nocohost_children", "busy") == 1
    assert bench.measured("nocohost_children_resident_bytes", "busy") > 20_000_000
    running.cancel()
    bench.rooms.kill_children()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 30)
    await gone(pid, 20)
    assert bench.measured("nocohost_children", "busy") == 0


@on_sqlite
async def test_what_a_handler_has_started_ends_with_its_child(bench: Bench) -> None:
    assert await bench.run("family") == "survived"
    grandchild = int(bench.notes.read_text().split()[0].partition(":")[2])
    await gone(grandchild, 20)


@on_sqlite
async def test_temporary_files_go_with_the_child_that_left_them(bench: Bench) -> None:
    assert await bench.run("litter") == "survived"
    dying = asyncio.create_task(bench.run("litter and die"))
    while len(litter := _litter(bench)) < 2 and not dying.done():
        await asyncio.sleep(0.01)
    (left, (file, pid)) = litter
    assert file.is_file()
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ChildCrashedError):
        await dying
    assert not file.parent.parent.exists(), "its folder, too"
    await gone(left[1], 20)
    await asyncio.wait_for(_missing(left[0].parent.parent), 30)
    node = file.parent.parent.parent
    assert list(node.iterdir()) == []
    await bench.rooms.close()
    assert not node.exists()


def _litter(bench: Bench) -> list[tuple[Path, int]]:
    """Return the files that handlers have left behind, and the processes that did."""
    lines = bench.notes.read_text().splitlines() if bench.notes.exists() else []
    words = [line.split() for line in lines if line.startswith("litter:")]
    return [(Path(word.removeprefix("litter:")), int(pid)) for word, _, pid in words]


async def _missing(path: Path) -> None:
    while path.exists():
        await asyncio.sleep(0.01)


@on_sqlite
async def test_children_run_beside_each_other_and_each_only_once(bench: Bench) -> None:
    seen = await asyncio.gather(*(bench.run("who") for _ in range(3)))
    assert len({one["pid"] for one in seen}) == 3
    for one in seen:
        await gone(one["pid"], 20)


@BOTH
async def test_a_child_writes_through_connections_of_its_own(bench: Bench, key: str) -> None:
    await bench.run("write", key, seconds=0)
    await bench.noted("written")
    assert await bench.count() == 2, "the job and the one that it enqueued"
    async with bench.database.connect() as connection:
        progress = await connection.scalar(select(jobs.c.progress).where(jobs.c.state == "running"))
    assert progress == {"done": 1, "total": 2, "unit": "tricks"}


@BOTH
async def test_a_child_locks_and_signals(bench: Bench, key: str) -> None:
    await bench.parts.hints.start()
    async with bench.parts.signals.listen("acrobat.rope") as signals:
        for fence in (1, 2):
            assert await bench.run("balance", key) == fence
            assert await asyncio.wait_for(anext(signals), 30) == {"fence": fence}
    await bench.parts.hints.stop()


@BOTH
async def test_a_frozen_child_that_wakes_up_late_is_refused(bench: Bench, key: str) -> None:
    running = asyncio.create_task(bench.run("write", key, seconds=0.5))
    pid = await bench.noted("begin")
    os.kill(pid, signal.SIGSTOP)
    await bench.take_over()
    os.kill(pid, signal.SIGCONT)
    with pytest.raises(HandlerRaisedError, match=r"FenceLostError: this attempt .fence 7. no longer holds job"):
        await asyncio.wait_for(running, 30)
    assert await bench.count() == 1, "what it enqueued in that transaction is rolled back with it"


@on_sqlite
async def test_a_frozen_child_is_killed_when_cancelled(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_room, "ASK_SECONDS", 0.1)
    monkeypatch.setattr(child_room, "TERM_SECONDS", 0.1)
    running = asyncio.create_task(bench.run("sleep", seconds=600))
    pid = await bench.noted("begin")
    os.kill(pid, signal.SIGSTOP)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 30)
    with suppress(psutil.NoSuchProcess):
        await gone(pid, 20)
