"""Tasks on real nodes: run in children, watched from elsewhere, cancelled, killed, and gone on with."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from plugins.toil import TOIL
from plugins.wheels import nodes_with
from sqlalchemy import create_engine, text

pytestmark = pytest.mark.timeout(180)
WORKS = "async-task:process"
OVER = ("succeeded", "failed", "cancelled")
TASKS = "/api/v1/tasks"


@pytest.fixture(scope="session")
def toil(install_wheels: Callable[[Any], Path]) -> Path:
    return install_wheels([TOIL])


@pytest.fixture
def environ(database_url: Callable[[], str], toil: Path) -> dict[str, str]:
    """The environment of nodes on a database of their own."""
    return nodes_with(toil, database_url())


@pytest.fixture
def environment(environ: dict[str, str], tmp_path: Path) -> dict[str, str]:
    return {"NOCOHOST_DATA_DIR": str(tmp_path), **environ}


class Client:
    """Starts tasks at one node and looks at what becomes of them."""

    def __init__(self, session: aiohttp.ClientSession, node: Any) -> None:
        self.session = session
        self.node = node

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        answer = await self.session.request(method, f"{self.node.url}{path}", json=body, headers=self.node.headers)
        return answer.status, await (answer.json() if "json" in answer.content_type else answer.text())

    async def start(self, kind: str = "toil", **params: Any) -> str:
        status, task = await self.ask("POST", TASKS, {"kind": kind, "params": params})
        assert status == 202, task
        return str(task["id"])

    async def task(self, task_id: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.ask("GET", f"{TASKS}/{task_id}"))[1]
        return found

    async def until(self, task_id: str, fits: Callable[[dict[str, Any]], bool], seconds: float = 60) -> dict[str, Any]:
        task: dict[str, Any] = {}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not fits(task := await self.task(task_id)):
                    await asyncio.sleep(0.05)
        assert fits(task), "\n".join([json.dumps(task), *self.node.lines[-5:]])
        return task

    async def over(self, task_id: str) -> dict[str, Any]:
        return await self.until(task_id, lambda task: task["state"] in OVER)

    async def events(self, task_id: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Yield each event of the stream."""
        url = f"{self.node.url}{TASKS}/{task_id}/events"
        async with self.session.get(url, headers=self.node.headers) as answer:
            assert answer.headers["Content-Type"] == "text/event-stream"
            name = ""
            async for line in answer.content:
                key, _, value = line.decode().strip().partition(": ")
                if key == "event":
                    name = value
                elif key == "data":
                    yield name, json.loads(value)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as http:
        yield http


def steps_of(environ: dict[str, str], folder: Path, task_id: str) -> list[tuple[int, str]]:
    """Return every step that was done of a task, and where."""
    url = environ.get("NOCOHOST_DATABASE__URL", f"sqlite:///{folder / 'nocohost.sqlite'}")
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        with engine.connect() as connection:
            found = connection.execute(
                text("SELECT step, node FROM toil_steps WHERE task = :task ORDER BY id"), {"task": task_id}
            )
            return [(row.step, row.node) for row in found]
    finally:
        engine.dispose()


async def test_a_task_is_watched_from_the_node_that_serves_requests_while_another_runs_it(
    cluster: Any, environ: dict[str, str], session: aiohttp.ClientSession
) -> None:
    settings = {"NOCOHOST_PLUGINS__ASYNC_TASK__MAX_ROW_ERRORS": "2"}
    async with cluster("!", WORKS, **environ, **settings) as (front, _):
        client = Client(session, front)
        task_id = await client.start(steps=8, seconds=0.3)
        events = [event async for event in client.events(task_id)]
        states = [task["state"] for name, task in events if name == "state"]
        assert states[-2:] == ["running", "succeeded"], states
        steps = [task["progress"]["done"] for name, task in events if name == "progress" and task["progress"]]
        assert steps == sorted(steps)
        assert len(set(steps)) >= 3
        done = events[-1][1]
        assert done["result"] == {"file": None, "value": {"steps": 8, "attempt": 1}}
        assert (done["progress"]["done"], done["progress"]["total"], done["progress"]["unit"]) == (8, 8, "steps")
        assert done["progress"]["rate"] > 0
        assert (done["node"], done["row_errors"]) == ("node-2", 4)
        rows = (await client.ask("GET", f"{TASKS}/{task_id}/errors"))[1].splitlines()
        assert rows[:2] == ["row,field,value,reason", "2,'=cmd,'@value,step 1 is odd"]
        assert len(rows) == 3, "the others are counted"
        awaited = await client.over(await client.start("toil-awaited", steps=2))
        assert (awaited["state"], awaited["row_errors"]) == ("succeeded", 2)


async def test_a_task_goes_on_elsewhere_from_its_checkpoint_when_its_node_is_killed(
    cluster: Any, environ: dict[str, str], session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with cluster("!", WORKS, WORKS, **environ) as (front, one, other):
        client = Client(session, front)
        task_id = await client.start(steps=14, seconds=0.25)
        begun = await client.until(task_id, lambda task: (task["progress"] or {"done": 0})["done"] >= 3)
        victim = one if begun["node"] == "node-2" else other
        await victim.kill()
        done = await client.over(task_id)
        assert (done["state"], done["result"]["value"]["steps"]) == ("succeeded", 14)
        assert done["attempts"] == 2
        assert done["node"] != begun["node"]
    steps = steps_of(environ, tmp_path, task_id)
    assert [step for step, _ in steps] == list(range(14)), "each step once, in order"
    assert {node for _, node in steps} == {"node-2", "node-3"}


async def test_a_running_task_is_cancelled_long_before_its_end_and_a_finished_one_cannot_be(
    cluster: Any, environ: dict[str, str], session: aiohttp.ClientSession
) -> None:
    async with cluster("!", WORKS, **environ) as (front, _):
        client = Client(session, front)
        task_id = await client.start(steps=10_000, seconds=0.1)
        await client.until(task_id, lambda task: task["progress"] is not None)
        loop = asyncio.get_running_loop()
        asked = loop.time()
        status, task = await client.ask("POST", f"{TASKS}/{task_id}/cancel")
        assert (status, task["state"], task["cancel_requested"], task["cancelable"]) == (202, "running", True, False)
        task = await client.over(task_id)
        assert task["state"] == "cancelled"
        print(f"cancel confirmed after {loop.time() - asked:.2f} s")
        assert (await client.ask("POST", f"{TASKS}/{task_id}/cancel"))[0] == 409
        done = await client.start(steps=1)
        assert (await client.over(done))["state"] == "succeeded"
        for verb in ("cancel", "retry"):
            assert (await client.ask("POST", f"{TASKS}/{done}/{verb}"))[0] == 409
        reached = task["progress"]["done"]
        assert (await client.ask("POST", f"{TASKS}/{task_id}/retry"))[0] == 202
        again = await client.until(task_id, lambda one: (one["progress"] or {"done": 0})["done"] > reached)
        assert again["state"] == "running"
        assert (await client.ask("POST", f"/api/v1/jobs/{again['job']}/cancel"))[0] == 202
        assert (await client.over(task_id))["state"] == "cancelled"


async def test_a_task_waits_for_a_node_that_has_its_kind_and_says_so(
    cluster: Any, environ: dict[str, str], session: aiohttp.ClientSession
) -> None:
    """In a rolling upgrade nodes of the old image claim what those of the new one have started."""
    old = {"NOCOHOST_DATABASE__URL": environ["NOCOHOST_DATABASE__URL"]}
    async with cluster("!", **environ) as (front,):
        client = Client(session, front)
        async with cluster(WORKS, **old) as (node,):
            ids = [await client.start(steps=2) for _ in range(2)]
            for task_id in ids:
                task = await client.until(task_id, lambda one: "task.unknown_kind" in str(one["warnings"]))
                assert (task["state"], task["attempts"], task["error"]) == ("pending", 0, None)
                assert "node node-1 runs tasks of kind toil;" in str(task["warnings"])
            async with asyncio.timeout(60):
                while sum(task["job"] in line for line in node.lines if "job.snoozed" in line) < 3:
                    await asyncio.sleep(0.05)
            assert sum(ids[1] in line for line in node.lines if "task.waiting" in line) == 1, "it is told once"
            assert (await client.ask("POST", f"{TASKS}/{ids[0]}/cancel"))[0] in {200, 202}
            cancelled = await client.over(ids[0])
            assert (cancelled["state"], cancelled["error"], cancelled["warnings"]) == ("cancelled", None, [])
        async with cluster(WORKS, **environ):
            done = await client.over(ids[1])
            assert (done["state"], done["attempts"], done["warnings"]) == ("succeeded", 1, [])


async def test_what_a_task_dies_of_is_told_and_tried_again_only_where_its_kind_says_so(
    cluster: Any, environ: dict[str, str], session: aiohttp.ClientSession
) -> None:
    settings = {
        "NOCOHOST_PLUGINS__ASYNC_TASK__MEMORY_MIB": "400",
        "NOCOHOST_PLUGINS__ASYNC_TASK__CONCURRENCY": "2",
        "NOCOHOST_PLUGINS__ASYNC_TASK__TIMEOUT_SECONDS": "6",
        "NOCOHOST_QUEUE__PROFILE": "default",  # a node that fences itself on a busy machine would try again
    }
    async with cluster("", **environ, **settings) as (node,):
        client = Client(session, node)
        expected = {
            ("toil-once", "raise"): (1, "ValueError: the tool broke"),
            ("toil", "fail"): (1, "this can never be done"),
            ("toil-once", "odd"): (1, "returned a set"),
            ("toil-once", "segfault"): (2, "killed by SIGSEGV"),
            ("toil-once", "kill"): (2, "killed by SIGKILL"),
            ("toil-small", "hog"): (1, "out of memory: the task may use 200 MiB"),
            ("toil-once", "hang"): (1, "took longer than 6 s"),
            ("toil-brief", "hang"): (1, "took longer than 1 s"),
            ("toil", "raise"): (3, "ValueError: the tool broke"),
        }
        ids = {case: await client.start(case[0], do=case[1], at=1) for case in expected}
        for case, (attempts, error) in expected.items():
            task = await client.over(ids[case])
            assert task["state"] == "failed", (case, task)
            assert error in task["error"], (case, task["error"])
            assert task["attempts"] == attempts, (case, task)
            assert task["progress"]["done"] == 1, case
        assert (await client.over(await client.start(steps=1)))["state"] == "succeeded", "the node goes on"


async def test_a_task_that_is_retried_lists_what_it_finds_again_once(
    cluster: Any, environ: dict[str, str], session: aiohttp.ClientSession
) -> None:
    async with cluster("", **environ) as (node,):
        client = Client(session, node)
        for at, listed in ((0, [1]), (4, [2, 4, 5])):
            task_id = await client.start(steps=6, do="refuse", at=at)
            for _ in range(3):
                task = await client.over(task_id)
                assert (task["state"], task["row_errors"]) == ("failed", len(listed)), task
                rows = (await client.ask("GET", f"{TASKS}/{task_id}/errors"))[1].splitlines()
                assert [int(row.split(",")[0]) for row in rows[1:]] == listed
                assert (await client.ask("POST", f"{TASKS}/{task_id}/retry"))[0] == 202


async def test_without_a_node_for_tasks_a_task_waits_says_why_and_starts_when_one_appears(
    cluster: Any, environ: dict[str, str], session: aiohttp.ClientSession
) -> None:
    async with cluster("!", WORKS, **environ) as (front, back):
        assert await back.stop() == 0
        client = Client(session, front)
        task_id = await client.start(steps=1)
        waiting = await client.until(task_id, lambda task: bool(task["warnings"]))
        assert (waiting["state"], waiting["warnings"][0]["code"]) == ("pending", "key.unserved")
        explained = (await client.ask("GET", f"/api/v1/jobs/{waiting['job']}/explain"))[1]
        assert "unserved" in [reason["code"] for reason in explained["reasons"]], explained
        await back.start()
        done = await client.over(task_id)
        assert (done["state"], done["warnings"]) == ("succeeded", [])
        task_id = await client.start(steps=200, seconds=0.1)
        await client.until(task_id, lambda task: task["state"] == "running")
        await back.kill()
        lost = await client.until(task_id, lambda task: task["state"] == "pending")
        assert "task.orphan" in [warning["code"] for warning in lost["warnings"]]
        assert (await client.ask("POST", f"{TASKS}/{task_id}/cancel"))[0] == 200
        assert (await client.task(task_id))["state"] == "cancelled"


async def test_a_file_goes_in_at_one_node_and_what_is_made_of_it_comes_out_there(
    cluster: Any, environ: dict[str, str], session: aiohttp.ClientSession
) -> None:
    async with cluster("!", WORKS, **environ, NOCOHOST_PLUGINS__ASYNC_TASK__UPLOAD_BYTES="300000") as (front, _):
        client = Client(session, front)

        async def upload(**parts: Any) -> tuple[int, Any]:
            form = aiohttp.FormData()
            for name, value in parts.items():
                options = {"filename": "../../etc/a\u202eb.txt"} if name == "file" else {}
                form.add_field(name, value, **options)
            answer = await session.post(f"{front.url}{TASKS}", data=form, headers=front.headers)
            return answer.status, await answer.json()

        content = b"rows and rows\n" * 5000
        status, task = await upload(kind="toil-copy", params="{}", file=content)
        assert status == 202, task
        done = await client.over(task["id"])
        assert (done["state"], done["error"]) == ("succeeded", None)
        assert done["result"]["file"]["size"] == len(content)
        path = f"{front.url}{TASKS}/{task['id']}/result"
        answer = await session.get(path, headers=front.headers)
        assert (answer.status, await answer.read()) == (200, content.upper())
        assert answer.headers["Content-Disposition"].startswith("attachment")
        part = await session.get(path, headers={**front.headers, "Range": "bytes=0-3"})
        assert (part.status, await part.read()) == (206, b"ROWS")
        refused = [
            (await upload(kind="toil", params="{}", file=b"x"), 422, "task.file"),
            (await upload(kind="toil-copy", params="{}", file=b"x" * 100_001), 422, "task.file"),
            (await upload(kind="toil-copy", params='{"steps": NaN}', file=b"x"), 400, "http.bad_request"),
            (await upload(kind="toil-copy", params="[" * 100_000, file=b"x"), 400, "http.bad_request"),
            (await upload(kind="toil-copy", params='{"steps": "many"}', file=b"x"), 422, "task.params"),
            (await upload(kind="toil-copy", params="{}", file=b"x" * 300_001), 413, "storage.too_large"),
            (await upload(kind="toil-copy", file=b"x"), 400, "http.bad_request"),
            (await upload(kind="toil-copy", params="{}", file=b"x", other="1"), 400, "http.bad_request"),
        ]
        for (status, problem), expected, code in refused:
            assert (status, problem["code"]) == (expected, code), problem
        assert len((await client.ask("GET", TASKS))[1]["items"]) == 1
        plain = await client.start(steps=1)
        assert (await client.ask("GET", f"{TASKS}/{plain}/result"))[0] in (404, 409)
        await client.over(plain)
        status, problem = await client.ask("GET", f"{TASKS}/{plain}/result")
        assert (status, problem["code"]) == (404, "task.no_file")
