"""Warm spare children: ready beforehand, used once, replaced, and no fault of any job."""

import asyncio
import os
import resource
import signal
from collections.abc import AsyncIterator, Callable, Iterable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from integration.child_bench import AWAITED, PLAIN, Bench, gone, open_benches, perform
from plugins.acrobats import ACROBATS
from structlog.testing import LogCapture

from nocohost.api.job import Job, Snooze
from nocohost.api.log import Log
from nocohost.api.service import Service
from nocohost.child.room import UNSTARTED_SECONDS
from nocohost.queue.claim import HeldClaim

pytestmark = [pytest.mark.timeout(180), pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)]


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


async def test_a_spare_is_warm_and_replaced(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(spares=1)
    await begin(bench)
    first = await warm(bench)
    assert bench.measured("nocohost_children", "spare") == 1
    assert bench.measured("nocohost_children_resident_bytes", "spare") > 20_000_000
    assert (await bench.run("who"))["pid"] == first
    second = await warm(bench)
    assert second != first
    await bench.rooms.close()
    await gone(second, 20)


async def begin(bench: Bench) -> None:
    """Let the node have its first job of this kind: spares are kept from then on."""
    await bench.rooms.open()
    assert bench.room.spares.waiting == []
    await bench.run("who")


async def warm(bench: Bench) -> int:
    """Wait until one spare is ready, and return its process id."""
    async with asyncio.timeout(60):
        while not any(child.ready.is_set() for child in bench.room.spares.waiting):
            await asyncio.sleep(0.01)
    return int(bench.room.spares.waiting[0].pid)


async def test_a_spare_that_imported_one_key_is_not_used_for_another(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(spares=1)
    await begin(bench)
    spare = await warm(bench)
    assert (await bench.run("who", AWAITED))["serving"] is False
    assert bench.room.spares.waiting[0].pid == spare


async def test_a_spare_of_many_keys_serves_any_of_them(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(spares=1, keys=(PLAIN, AWAITED))
    await begin(bench)
    spare = await warm(bench)
    seen = await bench.run("who")
    assert seen["pid"] == spare
    assert seen["modules"] == ["acrobats", "acrobats.declarations", "acrobats.plain", "acrobats.tricks"]


async def test_a_spare_that_dies_waiting_is_replaced_and_no_job_is_blamed(
    make_bench: Callable[..., Bench], log_lines: Any
) -> None:
    bench = make_bench(spares=1)
    await begin(bench)
    first = await warm(bench)
    os.kill(first, signal.SIGSTOP)
    running = asyncio.create_task(bench.run("who"))
    await asyncio.sleep(0.2)
    os.kill(first, signal.SIGKILL)
    assert (await asyncio.wait_for(running, 60))["pid"] != first, "it had not begun: another child takes the order"
    os.kill(await warm(bench), signal.SIGKILL)
    async with asyncio.timeout(30):
        while "spare.lost" not in {line["event"] for line in log_lines.entries}:
            await asyncio.sleep(0.01)
    assert await warm(bench)


async def test_a_job_for_which_no_process_can_be_started_comes_back_uncharged(
    make_bench: Callable[..., Bench], log_lines: LogCapture
) -> None:
    bench = make_bench()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = next(number for number in count(3) if not os.path.exists(f"/proc/self/fd/{number}"))
    order = await bench.claim(PLAIN, {"do": "good", "notes": str(bench.notes)})
    job = Job(order.id, PLAIN, order.payload, claim=HeldClaim(bench.database, order))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        outcome = await bench.room.run(Service(PLAIN, perform, isolation="process"), job, order)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert outcome == Snooze(UNSTARTED_SECONDS)
    (line,) = [entry for entry in log_lines.entries if entry["event"] == "child.unstarted"]
    assert "Too many open files" in line["reason"]
    assert (await bench.run("who"))["serving"] is False
