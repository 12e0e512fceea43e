"""One attempt: run a job's handler, and write what became of it until the database has answered."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from traceback import format_exception_only
from typing import Any

from nocohost.api.app import App
from nocohost.api.clock import Clock
from nocohost.api.errors import PayloadError, StoreConflictError, StoreError, StoreUnavailableError
from nocohost.api.job import Job
from nocohost.api.log import Log
from nocohost.api.service import JobType, Service
from nocohost.queue.claim import HeldClaim
from nocohost.queue.metrics import QueueMetrics
from nocohost.queue.outcome import FENCED, Interruption, Rules, Verdict, dead
from nocohost.queue.payload import read_payload
from nocohost.queue.supervision import Supervision
from nocohost.store.claims import ClaimedJob, finish, give_back, was_written
from nocohost.store.database import SqlDatabase

CANCEL_AGAIN_SECONDS = 10.0


@dataclass(eq=False)
class Attempt:
    """An attempt on its way: what may be done to it from outside."""

    job: ClaimedJob
    service: Service
    claim: HeldClaim
    why: Interruption | None = None
    """Why the handler was cancelled, if it was."""
    is_settling: bool = False
    """The handler is done; only the outcome is still to be written."""
    handler: "asyncio.Task[Any] | None" = field(default=None, repr=False)

    def interrupt(self, why: Interruption) -> None:
        """Cancel the handler; the first reason counts, save that a lost claim is beyond every other."""
        if self.is_settling:
            return
        if self.why is None or why is Interruption.FENCE:
            self.why = why
        self.claim.cancel_requested |= why is Interruption.CANCEL
        if self.handler is not None:
            self.handler.cancel()


@dataclass(frozen=True)
class _Raised:
    """An exception that a handler raised, as text."""

    error: str


class Attempts:
    """Runs attempts. ``running`` is how many handlers run at this moment; any thread may read it."""

    def __init__(
        self,
        database: SqlDatabase,
        job_type: Callable[[str], JobType | None],
        app: App,
        *,
        node_id: str,
        clock: Clock,
        log: Log,
        metrics: QueueMetrics,
    ) -> None:
        self._database = database
        self._job_type = job_type
        self._app = app
        self._node_id = node_id
        self._clock = clock
        self._log = log
        self._metrics = metrics
        self.running = 0

    def prepare(self, job: ClaimedJob, service: Service) -> Attempt:
        """Return the attempt of a job just claimed; ``run`` runs it."""
        return Attempt(job, service, HeldClaim(self._database, job))

    async def run(self, attempt: Attempt) -> None:
        """Run the handler and write the outcome; returns when the database has it, or the claim is lost."""
        job = attempt.job
        started = self._clock.monotonic()
        self._metrics.started(job.key, (job.started_at - job.run_at).total_seconds())
        rules = Rules(attempt.service, self._type_of(job).attempts, job.attempts)
        verdict = await self._judge(attempt, rules)
        seconds = self._clock.monotonic() - started
        attempt.is_settling = True
        if verdict is not FENCED:
            verdict = await self._write(job, verdict, rules)
        self._metrics.finished(job.key, verdict.name, seconds, charged=verdict.charge)
        self._tell(job, verdict, seconds)

    def _type_of(self, job: ClaimedJob) -> JobType:
        return self._job_type(job.key) or JobType(job.key)

    async def _judge(self, attempt: Attempt, rules: Rules) -> Verdict:
        job, service = attempt.job, attempt.service
        try:
            payload = read_payload(job.key, job.payload, self._type_of(job).payload)
        except PayloadError as error:
            return dead(error.message)
        if attempt.why is not None:
            return rules.interrupted(attempt.why)
        seen = Job(
            job.id,
            job.key,
            payload,
            attempt=job.attempts + 1,
            fence=job.fence,
            enqueued_at=job.enqueued_at,
            group=job.group,
            claim=attempt.claim,
        )
        self.running += 1
        handler = attempt.handler = asyncio.create_task(self._call(service, seen), name=f"{job.key} {job.id}")
        handler.add_done_callback(self._ended)
        await self._until_done(attempt, handler, service.timeout_seconds)
        if handler.cancelled():
            return rules.interrupted(attempt.why) if attempt.why else rules.failed("the handler cancelled itself")
        result = handler.result()
        if not isinstance(result, _Raised):
            return rules.returned(result)
        return rules.interrupted(attempt.why) if attempt.why else rules.failed(result.error)

    def _ended(self, handler: "asyncio.Task[Any]") -> None:
        self.running -= 1

    async def _call(self, service: Service, job: Job) -> Any:
        """Call the handler; whatever it raises stays in here, ``sys.exit`` too."""
        try:
            if len(inspect.signature(service.handler).parameters) > 1:
                return await service.handler(job, self._app)
            return await service.handler(job)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - the fence around a guest's handler; sys.exit stays in it too
            text = "".join(format_exception_only(error)).strip()
            self._log.exception("job.raised", key=job.key, job=job.id, attempt=job.attempt)
            return _Raised(text)

    async def _until_done(self, attempt: Attempt, handler: "asyncio.Task[Any]", seconds: float | None) -> None:
        """Wait for the handler; cancel it when its time is over, again and again if it does not listen."""
        limit = seconds
        try:
            while not handler.done():
                await self._wait(handler, limit)
                if handler.done():
                    return
                attempt.interrupt(attempt.why or Interruption.TIMEOUT)
                self._log.warning("job.cancelled", key=attempt.job.key, job=attempt.job.id, why=attempt.why)
                limit = CANCEL_AGAIN_SECONDS
        finally:
            handler.cancel()

    async def _wait(self, handler: "asyncio.Task[Any]", seconds: float | None) -> None:
        if seconds is None:
            await asyncio.wait({handler})
            return
        timer = asyncio.create_task(self._clock.sleep(seconds))
        try:
            await asyncio.wait({handler, timer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()

    async def _write(self, job: ClaimedJob, verdict: Verdict, rules: Rules) -> Verdict:
        """Write the verdict, however long the database is away; return what was written, FENCED for nothing.

        A verdict that the database refuses for good counts as a failed attempt that says so.
        """
        supervision = Supervision("settle", self._log.bind(key=job.key, job=job.id))
        unsure = refused = False
        while True:
            try:
                if await self._write_once(job, verdict):
                    supervision.succeeded()
                    return verdict
                return verdict if unsure and await self._read_back(job) else FENCED
            except (StoreUnavailableError, StoreConflictError) as error:
                # The answer may have been lost after the commit: the next refusal has to be looked into.
                unsure = True
                await self._clock.sleep(supervision.failed(error))
            except StoreError as error:
                self._log.error("job.unwritable", key=job.key, job=job.id, verdict=verdict.name, reason=str(error))
                if refused:
                    return FENCED  # the row cannot be written at all; the lease frees it
                refused = True
                verdict = rules.failed(f"the outcome {verdict.name} cannot be stored: {error.message}")

    async def _write_once(self, job: ClaimedJob, verdict: Verdict) -> bool:
        async with self._database.autocommit() as connection:
            if verdict.ending is not None:
                return await finish(connection, job, verdict.ending)
            return await give_back(
                connection,
                job,
                delay_seconds=verdict.delay_seconds,
                charge=verdict.charge,
                last_error=verdict.error,
            )

    async def _read_back(self, job: ClaimedJob) -> bool:
        async with self._database.connect() as connection:
            return await was_written(connection, job, self._node_id)

    def _tell(self, job: ClaimedJob, verdict: Verdict, seconds: float) -> None:
        levels: dict[str, Callable[..., Any] | Awaitable[Any]] = {"dead": self._log.error, "fenced": self._log.warning}
        say: Any = levels.get(verdict.name, self._log.info if verdict.error is None else self._log.warning)
        fields: dict[str, Any] = {"key": job.key, "job": job.id, "fence": job.fence, "seconds": round(seconds, 3)}
        if verdict.error is not None:
            fields["error"] = verdict.error[:500]
        say(f"job.{verdict.name}", **fields)
