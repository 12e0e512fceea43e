"""What executions cost that wait: a node is left alone with none, then with many, each with its timer months away.

``python tests/benchmarks/bench_workflow_waits.py --count 10000`` prints its share of a core, and statements a second.
"""

import argparse
import asyncio
import os
import time
from typing import Any

from bench_workflow_node import running_node
from sqlalchemy import event, insert
from sqlalchemy.engine import Engine

from builtin_plugins.workflow import KEY
from builtin_plugins.workflow.execution_desk import ExecutionDesk
from builtin_plugins.workflow.library import Library
from builtin_plugins.workflow.records import new_id
from builtin_plugins.workflow.tables import executions, steps
from builtin_plugins.workflow.workflow_desk import WorkflowDesk
from nocohost import App
from nocohost.testing.postgres import PostgresServer, find_binaries

SECONDS = 20.0
BATCH = 500
WAITS = [{"key": "long", "type": "delay", "seconds": 90 * 86_400}]


class Statements:
    """Counts the statements of this process."""

    def __init__(self) -> None:
        self.count = 0
        event.listen(Engine, "before_cursor_execute", self._seen)

    def _seen(self, *_: Any) -> None:
        self.count += 1


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="executions that wait")
    arguments = parser.parse_args()
    binaries = find_binaries(os.environ)
    assert binaries is not None, "no PostgreSQL"
    with PostgresServer(binaries, durable=True) as server:
        asyncio.run(measure(server.create_database("waits"), arguments.count))


async def measure(url: str, count: int) -> None:
    """Print what a node costs without executions that wait, and with ``count``."""
    statements = Statements()
    async with running_node(url) as app:
        definition = {"version": 1, "name": "waits", "trigger": {"type": "api"}, "steps": WAITS}
        await WorkflowDesk(app, Library(app)).store(definition, "bench", enable=True)
        await leave_alone("none", statements)
        await add_waiting(app, count)
        await leave_alone(str(count), statements)


async def leave_alone(what: str, statements: Statements) -> None:
    """Print what the node does while nothing is asked of it."""
    await asyncio.sleep(5)
    statements.count = 0
    used, began_at = time.process_time(), time.perf_counter()
    await asyncio.sleep(SECONDS)
    seconds = time.perf_counter() - began_at
    share = 100 * (time.process_time() - used) / seconds
    print(f"{what:>8} waiting: {share:.2f} % of a core, {statements.count / seconds:.2f} statements/s", flush=True)


async def add_waiting(app: App, count: int) -> None:
    """Let one execution wait, and copy its rows and its timer."""
    desk = ExecutionDesk(app, Library(app))
    first = await desk.start("waits", None, "bench")
    while (shown := await desk.show(first.id)).row.state != "waiting":
        await asyncio.sleep(0.05)
    row, step = shown.row, shown.steps[0]
    execution = {name: getattr(row, name) for name in row.__slots__}
    waiting = {name: getattr(step, name) for name in step.__slots__}
    assert row.timer_at is not None
    for _ in range(0, count, BATCH):
        ids = [new_id() for _ in range(BATCH)]
        payloads = [{"execution": one, "due": row.timer_at.isoformat()} for one in ids]
        async with app.database.begin() as connection:
            jobs = await app.queue.enqueue_many(KEY, payloads, connection=connection, run_at=row.timer_at)
            rows = [{**execution, "id": one, "timer": job.id} for one, job in zip(ids, jobs, strict=True)]
            await connection.execute(insert(executions), rows)
            await connection.execute(insert(steps), [{**waiting, "execution": one} for one in ids])


if __name__ == "__main__":
    main()
