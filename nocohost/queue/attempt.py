"""One attempt: run a job's handler, judge it, and hand the verdict over to be written."""

import asyncio
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nocohost.api.app import App
from nocohost.api.clock import Clock
from nocohost.api.errors import ChildCrashedError, HandlerRaisedError, PayloadError
from nocohost.api.job import Job
from nocohost.api.log import Log
from nocohost.api.room import Room, WorkOrder
from nocohost.api.service import JobType, Service
from nocohost.api.trace import error_text, error_trace
from nocohost.queue.claim import HeldClaim
from nocohost.queue.metrics import KeyNumbers, QueueMetrics
from nocohost.queue.outcome import FENCED, RELEASED, Interruption, Rules, Verdict, dead
from nocohost.queue.payload import read_payload
from nocohost.queue.settler import Pending, Settler
from nocohost.store.database import SqlDatabase
from nocohost.store.hot.values import ANY_PLACES, ClaimedJob

CANCEL_AGAIN_SECONDS = 10.0


class Offer(NamedTuple):
    """A service as its attempts need it, looked at once."""

    service: Service
    job_type: JobType
    passes_app: bool
    numbers: KeyNumbers


@dataclass(eq=False, slots=True)
class Attempt:
    """An attempt on its way: what may be done to it from outside."""

    job: ClaimedJob
    offer: Offer
    claim: HeldClaim
    why: Interruption | None = None
    """Why the handler was cancelled, if it was."""
    began: float | None = None
    """The monotonic instant at which the handler started."""
    cancelled_at: float = 0.0
    has_place: bool = False
    """It runs in a child for its job's sake, and has a place there until it is over."""
    is_settling: bool = False
    """The handler is done; only the outcome is still to be written."""
    task: "asyncio.Task[None] | None" = field(default=None, repr=False)

    def interrupt(self, why: Interruption) -> None:
        """Cancel the handler; the first reason counts, save that a lost claim is beyond every other."""
        if self.is_settling:
            return
        if self.why is None or why is Interruption.FENCE:
            self.why = why
        self.claim.cancel_requested |= why is Interruption.CANCEL
        if self.began is not None and self.task is not None:
            self.task.cancel()


class Attempts:
    """Runs attempts. ``running`` is how many handlers run at this moment; any thread may read it.

    ``rooms`` is where handlers run that must not run on the event loop: ``thread`` and ``process``. A job whose node or
    child died under it goes to the ``process`` room, if there is one, whatever its service says; one that was lost but
    once only while more than one place is free. The others must, so that no more may be started than ``places`` says.
    """

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
        self.rooms: Mapping[str, Room] = {}
        self._settler = Settler(database, node_id, clock=clock, log=log)
        self._placed = 0
        self.running = 0

    @property
    def places(self) -> int:
        """Return how many jobs that must run apart could start now, those of isolated services not counted."""
        room = self.rooms.get("process")
        return ANY_PLACES if room is None else max(room.places - self._placed, 0)

    def offer(self, service: Service) -> Offer:
        """Return the service as its attempts need it."""
        passes_app = len(inspect.signature(service.handler).parameters) > 1
        job_type = self._job_type(service.key) or JobType(service.key)
        return Offer(service, job_type, passes_app, self._metrics.of(service.key))

    def start(
        self, job: ClaimedJob, offer: Offer, why: Interruption | None, ended: Callable[[Attempt], None]
    ) -> Attempt:
        """Start the attempt of a job just claimed, or hand it back for ``why``; ``ended`` is called when it is over.

        It is over when the database has the outcome, or the claim is lost.
        """
        attempt = Attempt(job, offer, HeldClaim(self._database, job), why, has_place=self._is_placed(job, offer))
        self._placed += attempt.has_place
        attempt.task = asyncio.create_task(self._run(attempt, ended))
        return attempt

    def cancel_again(self, attempt: Attempt) -> None:
        """Cancel a handler once more that was cancelled a while ago and did not listen."""
        now = self._clock.monotonic()
        if attempt.why is not None and not attempt.is_settling and now >= attempt.cancelled_at + CANCEL_AGAIN_SECONDS:
            attempt.cancelled_at = now
            attempt.interrupt(attempt.why)
            self._log.warning("job.cancelled", key=attempt.job.key, job=attempt.job.id, why=attempt.why)

    def give_up(self) -> None:
        """Write no more verdicts."""
        self._settler.give_up()

    async def _run(self, attempt: Attempt, ended: Callable[[Attempt], None]) -> None:
        job, offer = attempt.job, attempt.offer
        offer.numbers.started(job.wait_seconds)
        rules = Rules(offer.service, offer.job_type.attempts, job.attempts)
        verdict = await self._judge(attempt, rules)
        attempt.is_settling = True

        def settled(written: Verdict) -> None:
            self._placed -= attempt.has_place
            self._tell(attempt, written)
            ended(attempt)

        if verdict is FENCED:
            settled(verdict)
        else:
            self._settler.put(Pending(job, verdict, rules, settled))

    async def _judge(self, attempt: Attempt, rules: Rules) -> Verdict:
        job, offer = attempt.job, attempt.offer
        self.running += 1
        try:
            seen = _seen(attempt)
            if isinstance(seen, PayloadError):
                return dead(seen.message)
            if attempt.why is not None:
                return rules.interrupted(attempt.why)
            attempt.began = self._clock.monotonic()
            if offer.service.timeout_seconds is None:
                return rules.returned(await self._call(attempt, seen))
            return rules.returned(await self._call_within(attempt, seen, offer.service.timeout_seconds))
        except asyncio.CancelledError:
            return rules.interrupted(attempt.why) if attempt.why else rules.failed("the handler cancelled itself")
        except ChildCrashedError as error:
            return rules.interrupted(attempt.why) if attempt.why else rules.crashed(error.message, job.crashes)
        except BaseException as error:  # noqa: BLE001 - the fence around a guest's handler; sys.exit stays in it too
            return self._raised(attempt, error, rules)
        finally:
            self.running -= 1

    def _raised(self, attempt: Attempt, error: BaseException, rules: Rules) -> Verdict:
        if isinstance(error, HandlerRaisedError):
            text, trace = error.message, error.trace or error.message
        else:
            text, trace = error_text(error), error_trace(error, error.__traceback__)
        number = attempt.job.attempts + 1
        self._log.error("job.raised", key=attempt.job.key, job=attempt.job.id, attempt=number, exception=trace)
        return rules.interrupted(attempt.why) if attempt.why else rules.failed(text)

    async def _call(self, attempt: Attempt, seen: Job) -> Any:
        service = attempt.offer.service
        room = self._room(attempt)
        if room is not None:
            return await room.run(service, seen, self._order(attempt))
        if attempt.offer.passes_app:
            return await service.handler(seen, self._app)
        return await service.handler(seen)

    async def _call_within(self, attempt: Attempt, seen: Job, seconds: float) -> Any:
        timer = asyncio.create_task(self._expire(attempt, seconds))
        try:
            return await self._call(attempt, seen)
        finally:
            timer.cancel()

    async def _expire(self, attempt: Attempt, seconds: float) -> None:
        await self._clock.sleep(seconds)
        attempt.cancelled_at = self._clock.monotonic()
        self._log.warning("job.cancelled", key=attempt.job.key, job=attempt.job.id, why=Interruption.TIMEOUT)
        attempt.interrupt(Interruption.TIMEOUT)

    def _is_placed(self, job: ClaimedJob, offer: Offer) -> bool:
        if "process" not in self.rooms or offer.service.isolation == "process":
            return False
        # One lost node says little of each of its jobs, and they must not wait: apart as far as there is room, and the
        # last place is kept for those that cannot do without.
        return job.must_run_apart or (job.losses > 0 and self.places > 1)

    def _room(self, attempt: Attempt) -> Room | None:
        return self.rooms.get("process" if attempt.has_place else attempt.offer.service.isolation)

    def _order(self, attempt: Attempt) -> WorkOrder:
        job = attempt.job
        return WorkOrder(
            id=job.id,
            key=job.key,
            payload=job.payload,
            attempt=job.attempts + 1,
            attempts=attempt.offer.job_type.attempts,
            fence=job.fence,
            claim_id=job.claim_id,
            node_id=self._node_id,
            enqueued_at=job.enqueued_at,
            group=job.group,
            timeout_seconds=attempt.offer.service.timeout_seconds,
            crashes=job.crashes,
        )

    def _tell(self, attempt: Attempt, verdict: Verdict) -> None:
        job = attempt.job
        seconds = 0.0 if attempt.began is None else self._clock.monotonic() - attempt.began
        attempt.offer.numbers.finished(verdict.name, seconds, charged=verdict.charge)
        if verdict.error is None and verdict is not FENCED and verdict is not RELEASED:
            self._log.info(f"job.{verdict.name}", key=job.key, job=job.id, fence=job.fence, seconds=round(seconds, 3))
            return
        say = {"dead": self._log.error, "released": self._log.info}.get(verdict.name, self._log.warning)
        error = {} if verdict.error is None else {"error": verdict.error[:500]}
        say(f"job.{verdict.name}", key=job.key, job=job.id, fence=job.fence, seconds=round(seconds, 3), **error)


def _seen(attempt: Attempt) -> Job | PayloadError:
    """Return the job as its handler sees it, or why it can never be run; what a validator raises else gets out."""
    job, model = attempt.job, attempt.offer.job_type.payload
    if not isinstance(job.payload, dict):
        return PayloadError(f"the stored payload of {job.key} is no JSON object")
    try:
        payload = job.payload if model is None else read_payload(job.key, job.payload, model)
    except PayloadError as error:
        return error
    return Job(job.id, job.key, payload, job.attempts + 1, job.fence, job.enqueued_at, job.group, attempt.claim)
