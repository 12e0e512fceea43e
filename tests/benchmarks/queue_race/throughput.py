"""How many jobs a second: enqueued in three ways, and drained by one process and by two."""

from collections.abc import Sequence
from typing import NamedTuple

from queue_race.effort import Effort
from queue_race.entrant import Entrant, Round
from queue_race.figures import Reading
from queue_race.inside.contestant.records import Record
from queue_race.processes import AbsentError, FailedError
from queue_race.scale import Scale

SPOILT = "most jobs were done before every process had begun"
LEAST_SHARE = 0.3
SECOND_PROCESS = 1.3
"""How many times as many jobs two processes are given."""


class Pace(NamedTuple):
    """Jobs per second to the last committed end, and to the start of the last job; a note when the run was spoilt."""

    acknowledged: float
    run: float
    note: str
    effort: Effort = Effort(0.0, 0.0)
    """Processor time for each job, in microseconds."""


def enqueue(entrant: Entrant, scale: Scale) -> list[Reading]:
    """Measure one awaiting caller, a hundred coroutines and the library's own bulk call, each on a fresh store."""
    ways = {"enqueue one": "enqueue_one", "enqueue 100": "enqueue_concurrently", "enqueue many": "enqueue_many"}
    return [_enqueue(entrant, name, action, scale) for name, action in ways.items()]


def drain(entrant: Entrant, scale: Scale) -> list[Reading]:
    """Measure one process and two, until the last end is committed; and beside it until the last job has begun."""
    if "drain" not in entrant.pace:
        entrant.pace["drain"] = _drain(entrant, 1, scale.probe_jobs, scale).acknowledged
    one = _drain(entrant, 1, scale.jobs(entrant.pace["drain"]), scale)
    entrant.pace["drain"] = one.acknowledged
    two = _drain(entrant, 2, scale.jobs(one.acknowledged * SECOND_PROCESS), scale)
    return [reading for processes, pace in ((1, one), (2, two)) for reading in _readings(processes, pace)]


def drain_round(round_: Round, processes: int, jobs: int, scale: Scale) -> Pace:
    """Store jobs, start processes, wait for the last committed end.

    Time begins when the last process to begin has begun; jobs that ran before do not count.
    """
    round_.client.ask("preload", count=jobs)
    with round_.serving(processes) as serving:
        round_.await_records(1, scale.limit_seconds)
        before = Effort.of(serving, round_.url)
        answer = round_.client.ask("watch", count=jobs, limit_seconds=scale.limit_seconds)
        if answer["ended_at"] is None:
            raise FailedError(f"{answer['left']} of {jobs} jobs left\n{round_.end_of_log()}")
        effort = Effort.of(serving, round_.url).since(before, jobs)
    return _pace(round_.read(), jobs, processes, answer["ended_at"])._replace(effort=effort)


def _drain(entrant: Entrant, processes: int, jobs: int, scale: Scale) -> Pace:
    with entrant.round() as round_:
        return drain_round(round_, processes, jobs, scale)


def _readings(processes: int, pace: Pace) -> Sequence[Reading]:
    name = f"drain {processes}"
    return (
        Reading(name, "jobs/s", pace.acknowledged, pace.note),
        Reading(f"{name}, begun", "jobs/s", pace.run),
        Reading(f"{name}, processor time of the processes", "us/job", pace.effort.serving),
        Reading(f"{name}, processor time of PostgreSQL", "us/job", pace.effort.backends),
    )


def _enqueue(entrant: Entrant, name: str, action: str, scale: Scale) -> Reading:
    with entrant.round() as round_:
        try:
            if name not in entrant.pace:
                seconds = round_.client.ask(action, count=scale.probe_jobs)["seconds"]
                entrant.pace[name] = scale.probe_jobs / seconds
            jobs = scale.jobs(entrant.pace[name])
            seconds = round_.client.ask(action, count=jobs)["seconds"]
        except AbsentError as absent:
            return Reading(name, "jobs/s", None, str(absent))
    entrant.pace[name] = jobs / seconds
    return Reading(name, "jobs/s", jobs / seconds)


def _pace(records: Sequence[Record], jobs: int, processes: int, ended_at: int) -> Pace:
    notes = []
    if len(records) != jobs or len({record.number for record in records}) != jobs:
        notes.append(f"{len(records)} runs of {jobs} jobs")
    begun = _first_of_each(records)
    began_at = max(begun)
    counted = sum(record.at > began_at for record in records)
    if len(begun) < processes or counted < LEAST_SHARE * jobs:
        notes.append(SPOILT)
        began_at, counted = records[0].at, jobs - 1
    last_at = max(records[-1].at, began_at + 1)
    return Pace(counted / (ended_at - began_at) * 1e9, counted / (last_at - began_at) * 1e9, "; ".join(notes))


def _first_of_each(records: Sequence[Record]) -> list[int]:
    first: dict[int, int] = {}
    for record in records:
        first.setdefault(record.process, record.at)
    return list(first.values())
