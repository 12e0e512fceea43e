"""Children of real nodes: what becomes of a job whose process dies, of a child whose node dies, and of late writes."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

pytestmark = pytest.mark.timeout(180)
PLAIN, AWAITED = "acrobat:plain", "acrobat:async"


class Client:
    """Enqueues at one node and looks at what becomes of it."""

    def __init__(self, session: aiohttp.ClientSession, node: Any, notes: Path) -> None:
        self._session = session
        self.node = node
        self.notes = notes

    async def enqueue(self, do: str, key: str = PLAIN, **more: Any) -> str:
        body = {"key": key, "payload": {"do": do, "notes": str(self.notes), **more}}
        answer = await self._session.post(f"{self.node.url}/api/v1/jobs", json=body, headers=self.node.headers)
        assert answer.status == 202, await answer.text()
        return str((await answer.json())["id"])

    async def job(self, job_id: str) -> dict[str, Any]:
        answer = await self._session.get(f"{self.node.url}/api/v1/jobs/{job_id}", headers=self.node.headers)
        found: dict[str, Any] = await answer.json()
        return found

    async def cancel(self, job_id: str) -> None:
        url = f"{self.node.url}/api/v1/jobs/{job_id}/cancel"
        answer = await self._session.post(url, headers=self.node.headers)
        assert answer.status in (200, 202), await answer.text()

    async def until(self, job_id: str, *states: str, seconds: float = 60) -> dict[str, Any]:
        async with asyncio.timeout(seconds):
            while (found := await self.job(job_id))["state"] not in states:
                await asyncio.sleep(0.05)
        return found

    async def noted(self, word: str, count: int = 1) -> list[tuple[int, int]]:
        """Wait until ``word`` has been written ``count`` times; return the fence and process id of each."""
        async with asyncio.timeout(60):
            while True:
                lines = self.notes.read_text().splitlines() if self.notes.exists() else []
                found = [(int(fence), int(pid)) for at, fence, pid in map(str.split, lines) if at == word]
                if len(found) >= count:
                    return found
                await asyncio.sleep(0.02)


async def gone(pid: int, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.01)


async def test_a_job_that_kills_its_process_is_a_dead_letter_after_three(cluster, acrobat_environ, tmp_path) -> None:
    """Its node lives, others' jobs succeed, and the dead letter says how it died."""
    async with cluster("!,acrobat:*", **acrobat_environ) as (node,), aiohttp.ClientSession() as session:
        client = Client(session, node, tmp_path / "notes")
        poison = await client.enqueue("segfault")
        good = [await client.enqueue(f"good {number}", key) for number in range(2) for key in (PLAIN, AWAITED)]
        for job in good:
            assert (await client.until(job, "succeeded", "dead"))["state"] == "succeeded"
        dead = await client.until(poison, "dead", "succeeded")
        assert dead["state"] == "dead"
        assert dead["attempts"] == 0, "a crash is counted apart"
        assert dead["last_error"].startswith("3 children died of it; the last: the child was killed by SIGSEGV")
        assert "tricks.py" in dead["last_error"]
        assert await node.stop() == 0


async def test_a_child_dies_with_its_node_and_its_job_runs_elsewhere(cluster, acrobat_environ, tmp_path) -> None:
    async with cluster("!", PLAIN, **acrobat_environ) as (front, back), aiohttp.ClientSession() as session:
        client = Client(session, front, tmp_path / "notes")
        job = await client.enqueue("sleep", seconds=3)
        ((_, child),) = await client.noted("begin")
        os.kill(back.process.process.pid, signal.SIGKILL)
        await gone(child, 20)
        await back.process.wait()
        await back.start()
        assert (await client.until(job, "succeeded"))["attempts"] == 0
        (_, first), (_, second) = await client.noted("begin", 2)
        assert first != second


async def test_a_job_lost_with_its_node_runs_in_a_child_whatever_its_isolation(
    cluster, acrobat_environ, tmp_path
) -> None:
    async with cluster("!", "acrobat:loop", **acrobat_environ) as (front, back), aiohttp.ClientSession() as session:
        client = Client(session, front, tmp_path / "notes")
        job = await client.enqueue("sleep", "acrobat:loop", seconds=3)
        ((_, pid),) = await client.noted("begin")
        assert pid == back.process.process.pid
        await back.kill()
        await back.start()
        assert (await client.until(job, "succeeded"))["state"] == "succeeded"
        _, (_, child) = await client.noted("begin", 2)
        assert child != back.process.process.pid
        assert psutil.pid_exists(back.process.process.pid)


async def test_a_frozen_node_and_child_that_wake_up_late_are_refused(cluster, acrobat_environ, tmp_path) -> None:
    async with cluster("!", PLAIN, PLAIN, **acrobat_environ) as (front, *backs), aiohttp.ClientSession() as session:
        client = Client(session, front, tmp_path / "notes")
        job = await client.enqueue("write", seconds=1)
        ((fence, child),) = await client.noted("begin")
        parent = psutil.Process(child).ppid()
        os.kill(parent, signal.SIGSTOP)
        os.kill(child, signal.SIGSTOP)
        try:
            assert (await client.until(job, "succeeded"))["state"] == "succeeded"
            ((later, _),) = await client.noted("written")
            assert later > fence
            os.kill(child, signal.SIGCONT)
            ((refused, pid),) = await client.noted("refused")
            assert (refused, pid) == (fence, child)
        finally:
            os.kill(parent, signal.SIGCONT)
        assert len(backs) == 2
        assert len(await client.noted("written")) == 1


async def test_a_plain_handler_runs_in_a_thread_of_its_node(cluster, acrobat_environ, tmp_path) -> None:
    async with cluster("!,acrobat:thread", **acrobat_environ) as (node,), aiohttp.ClientSession() as session:
        client = Client(session, node, tmp_path / "notes")
        found = await client.until(await client.enqueue("", "acrobat:thread"), "succeeded", "dead")
        assert found["value"] == "acrobat:thread 1"


async def test_cancel_timeout_and_drain_end_what_does_not_listen(cluster, acrobat_environ, tmp_path) -> None:
    acrobat_environ |= {"NOCOHOST_DRAIN_SECONDS": "1"}
    async with cluster("!,acrobat:*", **acrobat_environ) as (node,), aiohttp.ClientSession() as session:
        client = Client(session, node, tmp_path / "notes")
        job = await client.enqueue("sleep", seconds=600)
        ((_, child),) = await client.noted("begin")
        await client.cancel(job)
        assert (await client.until(job, "cancelled"))["state"] == "cancelled"
        await gone(child, 20)
        timed = await client.enqueue("sleep", "acrobat:brief", seconds=600)
        found = await client.until(timed, "dead", seconds=30)
        assert found["last_error"] == "timeout: the attempt took longer than 0.5 s"
        deaf = await client.enqueue("deaf")
        begun = await client.noted("begin", 3)
        assert await asyncio.wait_for(node.stop(), 10) == 0
        await gone(begun[-1][1], 2)
        await node.start()
        found = await client.job(deaf)
        assert found["attempts"] == 0, "a drain charges nobody"
        await client.cancel(deaf)
