"""Builds of nocohost that break a promise on purpose, to see that the bench notices.

Each is applied inside the processes of one run, from out here: nocohost knows nothing of it. Some replace a function by
name, the others rewrite what is sent to PostgreSQL. ``replace`` refuses a name that is no longer there, and a build
whose broken place was never reached leaves no file in ``broken/``: the test then says that it has to be adapted. This
file is all that knows the inside of nocohost.
"""

import asyncio
import functools
import importlib
import os
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

VALUE = r"%\(\w+\)s(?:::\w+)?"
CLAIM_CHECK = re.compile(rf"\b(?:nocohost_jobs|j)\.claim_id = ({VALUE}|\w+\.claim_id)")
SWEPT_KEYS = re.compile(rf"nocohost_jobs\.key (IN \((?:{VALUE}(?:, )?)+\)|= ANY \({VALUE}\))")
FENCE_SET = re.compile(r"fence = fence \+ 1\b")
LOSS_SET = re.compile(rf"losses=\(nocohost_jobs\.losses \+ {VALUE}\)")
DUE = re.compile(r"run_at <= \(SELECT clock_timestamp\(\)[^)]*\)")
ONE_CLAIM_ID = "00000000-0000-4000-8000-000000000000"
TAKE = """
DELETE FROM nocohost_jobs AS j
USING (SELECT unnest(string_to_array(%(ids)s, ',')::uuid[]) AS id,
              unnest(string_to_array(%(claims)s, ',')::uuid[]) AS claim_id) AS d
WHERE j.id = d.id AND j.claim_id = d.claim_id AND j.state = 'running' RETURNING to_json(j.*)::text
"""
PUT_BACK = "INSERT INTO nocohost_jobs SELECT * FROM json_populate_record(NULL::nocohost_jobs, %(row)s::json)"


class NoLongerThereError(Exception):
    """A broken build names something that nocohost no longer has."""


def apply(name: str) -> None:
    """Break this process; raises ``NoLongerThereError``."""
    BUILDS[name](lambda: used(name))


def used(name: str) -> None:
    """Note once that the broken place was reached."""
    file = Path(os.environ.get("CHAOS_FOLDER", "/nowhere")) / "broken" / f"{name}-{os.getpid()}"
    if file.parent.is_dir():
        file.touch()


def replace(path: str, make: Callable[[Any], Any]) -> None:
    """Put ``make(what is there)`` in the place of ``module:name`` or ``module:Class.name``."""
    module, _, dotted = path.partition(":")
    try:
        holder: Any = importlib.import_module(module)
        *owners, name = dotted.split(".")
        for owner in owners:
            holder = getattr(holder, owner)
        present = getattr(holder, name)
    except (ImportError, AttributeError) as error:
        raise NoLongerThereError(
            f"{path} is no longer there ({error}): adapt tests/chaos/startup/{Path(__file__).name}"
        ) from error
    setattr(holder, name, make(present))


def rewrite(change: Callable[[str], str], reached: Callable[[], None]) -> None:
    """Change every statement on its way to PostgreSQL, whoever sends it."""

    def make(present: Any) -> Any:
        @functools.wraps(present)
        def execute(self: Any, query: Any, *arguments: Any, **options: Any) -> Any:
            changed = change(query) if isinstance(query, str) else query
            if changed != query:
                reached()
            return present(self, changed, *arguments, **options)

        return execute

    replace("psycopg:AsyncCursor.execute", make)
    replace("psycopg:Cursor.execute", make)


def no_claim_check(reached: Callable[[], None]) -> None:
    """Whoever runs a job may end it, whether or not its claim still holds."""
    rewrite(lambda sql: CLAIM_CHECK.sub(r"\1 IS NOT NULL", sql), reached)


def claim_not_renewed(reached: Callable[[], None]) -> None:
    """All claims have one id, so that a new one does not make the old one void."""

    def new_claim_id() -> str:
        reached()
        return ONE_CLAIM_ID

    replace("nocohost.queue.consumer:new_claim_id", lambda present: new_claim_id)


def fence_not_raised(reached: Callable[[], None]) -> None:
    """Every claim of a job has the fence number 1."""
    rewrite(lambda sql: FENCE_SET.sub("fence = greatest(fence, 1)", sql), reached)


def loss_charged(reached: Callable[[], None]) -> None:
    """The loss of its node is charged to the job."""
    rewrite(lambda sql: LOSS_SET.sub(r"\g<0>, attempts=nocohost_jobs.attempts + 1", sql), reached)


def sweep_unscoped(reached: Callable[[], None]) -> None:
    """The sweep frees jobs of keys that its node does not serve."""

    def change(sql: str) -> str:
        return SWEPT_KEYS.sub(r"(nocohost_jobs.key \1 OR true)", sql) if "nocohost_jobs.node_id !=" in sql else sql

    rewrite(change, reached)


def sweep_by_age(reached: Callable[[], None]) -> None:
    """The sweep frees what has run for longer than a lease, whether or not its node lives."""

    def make(present: Any) -> Any:
        from nocohost.store.schema import jobs
        from nocohost.store.types import db_after

        def node_lives(node_id: Any) -> Any:
            reached()
            return jobs.c.started_at > db_after(-3.0)

        return node_lives

    replace("nocohost.store.orphans:node_lives", make)


def due_by_own_clock(reached: Callable[[], None]) -> None:
    """Whether a job is due is decided by the clock of the node that claims."""

    def change(sql: str) -> str:
        now = datetime.fromtimestamp(time.time(), UTC).isoformat()
        return DUE.sub(f"run_at <= CAST('{now}' AS TIMESTAMPTZ)", sql)

    rewrite(change, reached)


def ack_before_run(reached: Callable[[], None]) -> None:
    """A job has succeeded before its handler begins."""

    def make(present: Any) -> Any:
        from nocohost.store.hot.values import Settlement

        async def judge(self: Any, attempt: Any, rules: Any) -> Any:
            reached()
            job = attempt.job
            done = Settlement(job.id, job.claim_id, "succeeded", f'{{"fence": {job.fence}}}')
            await self._database.hot.settle([done])
            return await present(self, attempt, rules)

        return judge

    replace("nocohost.queue.attempt:Attempts._judge", make)


def enqueue_outside(reached: Callable[[], None]) -> None:
    """An enqueue does not join the transaction of its caller."""

    def make(present: Any) -> Any:
        async def enqueue(self: Any, key: str, payload: Any, *, connection: Any = None, **options: Any) -> Any:
            if connection is not None:
                reached()
            return await present(self, key, payload, **options)

        return enqueue

    replace("nocohost.queue.enqueue:JobQueue.enqueue", make)


def drain_drops(reached: Callable[[], None]) -> None:
    """A drain takes what it interrupts for done."""

    def make(present: Any) -> Any:
        from nocohost.queue.outcome import Interruption

        def interrupted(self: Any, why: Any) -> Any:
            if why is not Interruption.DRAIN:
                return present(self, why)
            reached()
            return self.returned(None)

        return interrupted

    replace("nocohost.queue.outcome:Rules.interrupted", make)


def unknown_is_failure(reached: Callable[[], None]) -> None:
    """An enqueue whose answer got lost is taken for failed, and made again."""

    def make_reading(present: Any) -> Any:
        from nocohost.api.errors import StoreUnavailableError

        async def find(self: Any, *anything: Any) -> Any:
            reached()
            raise StoreUnavailableError("taken for failed")

        return find

    def make(present: Any) -> Any:
        from nocohost.api.errors import StoreUnavailableError

        async def enqueue(self: Any, key: str, payload: Any, *, connection: Any = None, **options: Any) -> Any:
            for _ in range(20 if connection is None else 0):
                try:
                    return await present(self, key, payload, **options)
                except StoreUnavailableError:
                    await asyncio.sleep(0.2)
            return await present(self, key, payload, connection=connection, **options)

        return enqueue

    replace("nocohost.queue.enqueue:JobQueue._find", make_reading)
    replace("nocohost.queue.enqueue:JobQueue.enqueue", make)


def no_idempotency(reached: Callable[[], None]) -> None:
    """Every request makes a job, whatever its idempotency key."""

    def make(present: Any) -> Any:
        async def own(connection: Any, new: Any, idempotency_key: str) -> Any:
            reached()
            return new.id

        return own

    replace("nocohost.store.insertion:_own_idempotency_key", make)


def no_fence_at_all(reached: Callable[[], None]) -> None:
    """No node stops its own work when it cannot beat, and nobody checks its claims."""
    replace("nocohost.queue.watch:Watch.look", lambda present: lambda self: None)
    no_claim_check(reached)


def no_self_fence(reached: Callable[[], None]) -> None:
    """A node that cannot beat works on; claims are checked."""

    def look(self: Any) -> None:
        reached()

    replace("nocohost.queue.watch:Watch.look", lambda present: look)


def two_transactions(reached: Callable[[], None]) -> None:
    """A job leaves the hot table in one transaction, and gets to the history in another."""

    def make(present: Any) -> Any:
        from nocohost.store.hot.postgresql import _columns

        async def end(self: Any, endings: Any) -> Any:
            reached()
            rows = await self._settlements.fetch(TAKE, _columns(endings))
            await asyncio.sleep(0.2)
            for (row,) in rows:
                await self._settlements.fetch(PUT_BACK, {"row": row})
            return await present(self, endings)

        return end

    replace("nocohost.store.hot.postgresql:PostgresqlHotStore._end", make)


def cancel_after_the_end(reached: Callable[[], None]) -> None:
    """A job that is over can be cancelled."""

    def make(present: Any) -> Any:
        from sqlalchemy import update

        from nocohost.api.errors import JobConflictError
        from nocohost.store.jobs import get_job
        from nocohost.store.schema import history

        async def cancel_job(connection: Any, job_id: str) -> Any:
            try:
                return await present(connection, job_id)
            except JobConflictError:
                reached()
                await connection.execute(update(history).where(history.c.id == job_id).values(state="cancelled"))
                return await get_job(connection, job_id)

        return cancel_job

    replace("nocohost.web.jobs_api:cancel_job", make)


BUILDS: Mapping[str, Callable[[Callable[[], None]], None]] = {
    build.__name__.replace("_", "-"): build
    for build in (
        no_claim_check,
        claim_not_renewed,
        fence_not_raised,
        loss_charged,
        sweep_unscoped,
        sweep_by_age,
        due_by_own_clock,
        ack_before_run,
        enqueue_outside,
        drain_drops,
        unknown_is_failure,
        no_idempotency,
        no_fence_at_all,
        no_self_fence,
        two_transactions,
        cancel_after_the_end,
    )
}
