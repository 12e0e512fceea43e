"""The queue's store as a state machine on SQLite: random claims, beats, expiries, sweeps and endings, one clock."""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from integration.queue_bench import KEY, LOG, claim, make_queue, node_record, settle
from sqlalchemy import false, select
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.api.errors import FenceLostError, JobConflictError
from nocohost.node.identity import new_id
from nocohost.store.claims import store_progress, verify_claim
from nocohost.store.database import open_database
from nocohost.store.hot.values import ClaimedJob
from nocohost.store.jobs import cancel_job, drop_job, get_job, retry_job
from nocohost.store.nodes import beat, mark_lost, register_node
from nocohost.store.orphans import free_orphans
from nocohost.store.schema import history, jobs, nodes
from nocohost.testing.clock import FakeClock

LEASE = 15.0
NODES = 2


class QueueMachine(RuleBasedStateMachine):
    """Two nodes and the model of what each job's current claim is."""

    template: ClassVar[Path]
    claims = Bundle("claims")
    made = Bundle("made")

    @initialize()
    def open(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.directory = tempfile.TemporaryDirectory()
        file = Path(self.directory.name) / "queue.sqlite"
        shutil.copy(self.template, file)
        self.clock = FakeClock()
        self.database = open_database(f"sqlite:///{file}", clock=self.clock, log=LOG, synchronous="normal")
        self.queue = make_queue(self.database)
        self.nodes = [new_id() for _ in range(NODES)]
        self.holder: dict[str, ClaimedJob | None] = {}
        self.fences: dict[str, int] = {}
        self.dropped: set[str] = set()
        self.over: dict[str, str] = {}
        for node in self.nodes:
            self.write(lambda c, n=node: register_node(c, node_record(n), lease_seconds=LEASE, state="serving"))

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def write(self, work: Any) -> Any:
        async def transaction() -> Any:
            async with self.database.begin() as connection:
                return await work(connection)

        return self.run(transaction())

    @rule(target=made, delay=st.sampled_from([0, 0, 20]), key=st.sampled_from([None, "a", "b"]))
    def enqueue(self, delay: int, key: str | None) -> Any:
        run_at = self.clock.now() + timedelta(seconds=delay)
        job = self.run(self.queue.enqueue(KEY, {}, idempotency_key=key, run_at=run_at))
        if job.id not in self.holder and job.id not in self.dropped:
            self.holder[job.id] = None
            self.fences[job.id] = 0
        return job.id

    @rule(target=claims, node=st.integers(0, NODES - 1), count=st.integers(1, 3))
    def claim(self, node: int, count: int) -> Any:
        self.beat_of(node)
        rows = self.run(claim(self.database, self.nodes[node], count=count))
        for row in rows:
            assert self.holder[row.id] is None, "claimed while somebody held it"
            assert row.fence > self.fences[row.id], "a fence that does not rise"
            assert row.due <= self.clock.now().timestamp(), "claimed before it was due"
            self.fences[row.id] = row.fence
            self.holder[row.id] = row
        return multiple(*rows)

    @rule(node=st.integers(0, NODES - 1))
    def beat(self, node: int) -> None:
        self.beat_of(node)

    def beat_of(self, node: int) -> None:
        record = node_record(self.nodes[node])
        self.write(lambda c: c.run_sync(lambda sync: beat(sync, record, lease_seconds=LEASE, state="serving")))

    @rule(target=claims, node=st.integers(0, NODES - 1))
    def freeze(self, node: int) -> Any:
        """The node stands still past its lease; another one sweeps what it held, and claims it."""
        self.clock.advance(LEASE + 1)
        other = (node + 1) % NODES
        self.sweep(other)
        return self.claim(other, 3)

    @rule(seconds=st.sampled_from([1.0, 6.0, 16.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(node=st.integers(0, NODES - 1))
    def sweep(self, node: int) -> None:
        me = self.nodes[node]
        before = {row.id: row for row in self.rows()}
        alive = self.alive()
        self.write(lambda c: mark_lost(c, me, false()))
        freed = self.write(lambda c: free_orphans(c, me, [KEY], 100))
        gone = {row_id for row_id, row in before.items() if row.state == "running"} - {
            row.id for row in self.rows() if row.state == "running"
        }
        for job_id in gone:
            assert before[job_id].node_id != me, "swept its own job"
            assert before[job_id].node_id not in alive, "swept the job of a live node"
            self.holder[job_id] = None
            if before[job_id].cancel_requested:
                self.ended(job_id, "cancelled")
        assert len(freed.orphans) + freed.cancelled == len(gone)

    @rule(row=claims)
    def ack(self, row: ClaimedJob) -> None:
        won = self.run(settle(self.database, row, value=str(row.fence)))
        assert won == self.holds(row)
        if won:
            self.ended(row.id, "succeeded")

    @rule(row=claims, charge=st.booleans(), delay=st.sampled_from([0.0, 10.0]))
    def give_back(self, row: ClaimedJob, charge: bool, delay: float) -> None:
        won = self.run(settle(self.database, row, "pending", charge=charge, delay_seconds=delay, error="x"))
        assert won == self.holds(row)
        if won:
            self.holder[row.id] = None
            if self.read(row.id).state == "cancelled":
                self.ended(row.id, "cancelled")

    @rule(row=claims)
    def die(self, row: ClaimedJob) -> None:
        won = self.run(settle(self.database, row, "dead", error="x", charge=True))
        assert won == self.holds(row)
        if won:
            self.ended(row.id, "dead")

    @rule(row=claims)
    def write_under_claim(self, row: ClaimedJob) -> None:
        for work in (lambda c: store_progress(c, row, {"done": 1}), lambda c: verify_claim(c, row)):
            if self.holds(row):
                self.write(work)
            else:
                with pytest.raises(FenceLostError):
                    self.write(work)

    @rule(job_id=made)
    def cancel(self, job_id: str) -> None:
        if job_id not in self.holder:
            return
        if self.over.get(job_id) in {"succeeded", "dead"}:
            with pytest.raises(JobConflictError):
                self.write(lambda c: cancel_job(c, job_id))
        elif self.write(lambda c: cancel_job(c, job_id)).state == "cancelled" and job_id not in self.over:
            self.ended(job_id, "cancelled")

    @rule(job_id=made)
    def retry(self, job_id: str) -> None:
        if self.over.get(job_id) in {"dead", "cancelled"}:
            row = self.write(lambda c: retry_job(c, job_id))
            assert (row.state, row.attempts, row.fence) == ("pending", 0, self.fences[job_id])
            del self.over[job_id]

    @rule(job_id=made)
    def drop(self, job_id: str) -> None:
        if job_id not in self.holder:
            return
        state = self.read(job_id).state
        if state in {"pending", "dead"}:
            self.write(lambda c: drop_job(c, job_id))
            del self.holder[job_id]
            self.dropped.add(job_id)
            self.over.pop(job_id, None)
        else:
            with pytest.raises(JobConflictError):
                self.write(lambda c: drop_job(c, job_id))

    @invariant()
    def every_job_is_where_the_model_says(self) -> None:
        if not hasattr(self, "holder"):
            return
        hot, cold = self.write(both)
        assert cold == self.over
        assert hot.keys() == self.holder.keys() - self.over.keys()
        for job_id, row in hot.items():
            held = self.holder[job_id]
            assert (row.state == "running") == (held is not None)
            assert row.claim_id == (held.claim_id if held else None)
            assert row.fence == self.fences[job_id]

    def holds(self, row: ClaimedJob) -> bool:
        held = self.holder.get(row.id)
        return held is not None and held.claim_id == row.claim_id and row.id not in self.over

    def ended(self, job_id: str, state: str) -> None:
        assert job_id not in self.over, "ended twice"
        self.over[job_id] = state
        self.holder[job_id] = None

    def rows(self) -> Any:
        return self.write(lambda c: c.execute(select(jobs))).all()

    def read(self, job_id: str) -> Any:
        return self.write(lambda c: get_job(c, job_id))

    def alive(self) -> set[str]:
        rows = self.write(lambda c: c.execute(select(nodes.c.id, nodes.c.lease_until)))
        return {row.id for row in rows if row.lease_until > self.clock.now()}

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.run(self.database.close())
            self.loop.close()
            self.directory.cleanup()


async def both(connection: AsyncConnection) -> tuple[dict[str, Any], dict[str, str]]:
    """The hot rows by id, and the states in the history by id."""
    hot = {row.id: row for row in await connection.execute(select(jobs))}
    ended = await connection.execute(select(history.c.id, history.c.state))
    return hot, {row.id: row.state for row in ended}


def test_the_queue_is_the_machine_it_says(sqlite_template: Path) -> None:
    QueueMachine.template = sqlite_template
    run_state_machine_as_test(
        QueueMachine,
        settings=settings(
            max_examples=25,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
