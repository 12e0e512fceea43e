"""Workflows against DBOS doing the same steps durably, on one PostgreSQL that forces every commit to disk.

``python tests/benchmarks/bench_workflows.py`` prints executions a second of one process, from the first request to
start one to the end of the last. ``pure`` has ten calculate and condition steps, ``effects`` ten steps that do nothing
and are committed one by one. ``first step`` is the time from such a request to the beginning of the first step.
DBOS comes from PyPI, into an environment of its own; it is measured with its queue, and started directly.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from queue_race.environments import interpreter

from nocohost.testing.postgres import PostgresServer, find_binaries

CALLERS = 10
CACHE = Path.home() / ".cache" / "nocohost-queue-race"
PURE = [
    step
    for number in range(5)
    for step in (
        {"key": f"c{number}", "type": "calculate", "value": f"trigger.input.x + {number}"},
        {"key": f"i{number}", "type": "condition", "if": f"steps.c{number} > 2", "then": [], "else": []},
    )
]
EFFECTS = [{"key": f"e{number}", "type": "bench.nothing"} for number in range(10)]
DBOS_PROGRAM = """
import json, sys, time
from dbos import DBOS
url, kind, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
DBOS(config={"name": "bench", "system_database_url": url, "log_level": "ERROR", "run_admin_server": False})

@DBOS.step()
def calculate(x, number):
    return x + number

@DBOS.step()
def condition(value):
    return value > 2

@DBOS.step()
def nothing():
    return None

@DBOS.workflow()
def pure(x):
    for number in range(5):
        condition(calculate(x, number))

@DBOS.workflow()
def effects(x):
    for number in range(10):
        nothing()

DBOS.launch()
queue = DBOS.register_queue("bench", worker_concurrency=100, polling_interval_sec=0.1)
start_one = queue.enqueue if sys.argv[4] == "queued" else DBOS.start_workflow
function = {"pure": pure, "effects": effects}[kind]
for handle in [start_one(function, 1) for _ in range(5)]:
    handle.get_result()
start = time.perf_counter()
handles = [start_one(function, 1) for _ in range(count)]
ends = [handle.get_result() for handle in handles]
print(json.dumps({"seconds": time.perf_counter() - start}))
DBOS.destroy()
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="executions of each run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-dbos", action="store_true")
    arguments = parser.parse_args()
    binaries = find_binaries(os.environ)
    assert binaries is not None, "no PostgreSQL"
    CACHE.mkdir(parents=True, exist_ok=True)
    rates: dict[str, list[float]] = {}
    with PostgresServer(binaries, durable=True) as server:
        for number in range(arguments.rounds):
            for kind in ("pure", "effects"):
                url = server.create_database(f"ours_{kind}_{number}")
                told = asyncio.run(ours(url, kind, arguments.count))
                rates.setdefault(f"nocohost {kind} executions/s", []).append(told["rate"])
                if "first" in told:
                    rates.setdefault("nocohost first step, ms", []).append(told["first"])
                if not arguments.without_dbos:
                    for way in ("queued", "direct"):
                        url = server.create_database(f"dbos_{kind}_{way}_{number}")
                        rate = dbos(url, kind, way, arguments.count)
                        rates.setdefault(f"DBOS {kind}, {way}, executions/s", []).append(rate)
    for name, values in rates.items():
        print(f"{name:<32} {statistics.median(values):>8.1f}   {' '.join(f'{value:.1f}' for value in values)}")


def dbos(url: str, kind: str, way: str, count: int) -> float:
    """Return executions a second of DBOS, from the first enqueue on: it enqueues while it runs."""
    python = interpreter(CACHE, ("dbos", "psycopg[binary]"))
    with tempfile.NamedTemporaryFile("w", suffix=".py") as program:
        program.write(DBOS_PROGRAM)
        program.flush()
        done = subprocess.run(
            [python, program.name, url, kind, str(count), way], capture_output=True, text=True, timeout=600
        )
    assert done.returncode == 0, done.stderr[-2000:]
    return count / json.loads(done.stdout.splitlines()[-1])["seconds"]


async def ours(url: str, kind: str, count: int) -> dict[str, float]:
    """Return executions a second of one node, from the first enqueue on, and the time to the first step."""
    from bench_workflow_node import running_node

    from builtin_plugins.workflow.execution_desk import ExecutionDesk
    from builtin_plugins.workflow.library import Library
    from builtin_plugins.workflow.workflow_desk import WorkflowDesk

    told = {}
    async with running_node(url) as app:
        library = Library(app)
        definition = {"version": 1, "name": kind, "trigger": {"type": "api"}}
        steps = PURE if kind == "pure" else EFFECTS
        await WorkflowDesk(app, library).store(definition | {"steps": steps}, "bench", enable=True)
        desk = ExecutionDesk(app, library)
        if kind == "pure":
            told["first"] = await first_step(desk)
        else:
            await desk.wait((await desk.start(kind, {"x": 1}, "bench", waited=True)).id, 10)
        start = time.perf_counter()
        callers = [start_some(desk, kind, count // CALLERS) for _ in range(CALLERS)]
        rows = [row for rows in await asyncio.gather(*callers) for row in rows]
        while await unfinished(app):
            await asyncio.sleep(0.05)
        told["rate"] = len(rows) / (time.perf_counter() - start)
        assert (await desk.show(rows[0].id)).row.state == "succeeded"
    return told


async def start_some(desk: object, kind: str, count: int) -> list:
    """Start executions, one after the other."""
    return [await desk.start(kind, {"x": 1}, "bench") for _ in range(count)]


async def unfinished(app: object) -> int:
    """Return how many executions have not ended."""
    from sqlalchemy import func, select

    from builtin_plugins.workflow.records import OPEN
    from builtin_plugins.workflow.tables import executions

    async with app.database.connect() as connection:
        query = select(func.count()).select_from(executions).where(executions.c.state.in_(OPEN))
        return int(await connection.scalar(query))


async def first_step(desk: object, times: int = 50) -> float:
    """Return the median time from a start to the beginning of its first step, in milliseconds."""
    taken = []
    for _ in range(times):
        asked_at = time.time()
        row = await desk.start("pure", {"x": 1}, "bench", waited=True)
        await desk.wait(row.id, 10)
        first = (await desk.show(row.id)).steps[0]
        taken.append((first.started_at.timestamp() - asked_at) * 1000)
        await asyncio.sleep(0.01)
    return statistics.median(taken)


if __name__ == "__main__":
    main()
