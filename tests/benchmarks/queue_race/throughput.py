"""How many jobs a second: enqueued in three ways, and drained by one process and by two."""

from collections.abc import Sequence

from queue_race.entrant import Entrant, Round
from queue_race.figures import Reading
from queue_race.inside.contestant.records import Record
from queue_race.processes import FailedError, NotYetError
from queue_race.scale import Scale

SPOILT = "most of the jobs were done before every process had begun"
LEAST_SHARE = 0.3
SECOND_PROCESS = 1.3
"""How many times as many jobs two processes are given."""


def enqueue(entrant: Entrant, scale: Scale) -> list[Reading]:
    """Measure one awaiting caller, a hundred coroutines and the library's own bulk call, each on a fresh store."""
    ways = {"enqueue one": "enqueue_one", "enqueue 100": "enqueue_concurrently", "enqueue many": "enqueue_many"}
    return [_enqueue(entrant, name, action, scale) for name, action in ways.items()]


def drain(entrant: Entrant, scale: Scale) -> list[Reading]:
    """Measure one process and two, until the last end is committed; and beside it until the last job has run."""
    found = []
    for processes in (1, 2):
        name = f"drain {processes}"
        if "drain" not in entrant.pace:
            entrant.pace["drain"] = _drain(entrant, processes, scale.probe_jobs, scale)[0]
        jobs = scale.jobs(entrant.pace["drain"] * (1.0 if processes == 1 else SECOND_PROCESS))
        acknowledged, run, note = _drain(entrant, processes, jobs, scale)
        if processes == 1:
            entrant.pace["drain"] = acknowledged
        found += [Reading(name, "jobs/s", acknowledged, note), Reading(f"{name}, run only", "jobs/s", run)]
    return found


def _enqueue(entrant: Entrant, name: str, action: str, scale: Scale) -> Reading:
    with entrant.round() as round_:
        try:
            if name not in entrant.pace:
                seconds = round_.client.ask(action, count=scale.probe_jobs)["seconds"]
                entrant.pace[name] = scale.probe_jobs / seconds
            jobs = scale.jobs(entrant.pace[name])
            seconds = round_.client.ask(action, count=jobs)["seconds"]
        except NotYetError as absent:
            return Reading(name, "jobs/s", None, f"not yet: {absent}")
    entrant.pace[name] = jobs / seconds
    return Reading(name, "jobs/s", jobs / seconds)


def _drain(entrant: Entrant, processes: int, jobs: int, scale: Scale) -> tuple[float, float, str]:
    """Return jobs/s to the last committed end, to the last run, and a note when the run was spoilt.

    Time begins when the last process to begin has begun; jobs that ran before do not count.
    """
    with entrant.round() as round_:
        round_.client.ask("preload", count=jobs)
        with round_.serving(processes):
            answer = round_.client.ask("watch", count=jobs, limit_seconds=scale.limit_seconds)
            if answer["ended_at"] is None:
                raise FailedError(f"{answer['left']} of {jobs} jobs left\n{round_.end_of_log()}")
        return _rates(round_, jobs, processes, answer["ended_at"])


def _rates(round_: Round, jobs: int, processes: int, ended_at: int) -> tuple[float, float, str]:
    records = round_.read()
    notes = []
    if len(records) != jobs or len({record.number for record in records}) != jobs:
        notes.append(f"{len(records)} runs of {jobs} jobs")
    begun = _first_of_each(records)
    began_at = max(begun)
    counted = sum(record.at > began_at for record in records)
    if len(begun) < processes or counted < LEAST_SHARE * jobs:
        notes.append(SPOILT)
        began_at, counted = records[0].at, jobs - 1
    acknowledged = counted / (ended_at - began_at) * 1e9
    return acknowledged, counted / max(records[-1].at - began_at, 1) * 1e9, "; ".join(notes)


def _first_of_each(records: Sequence[Record]) -> list[int]:
    first: dict[int, int] = {}
    for record in records:
        first.setdefault(record.process, record.at)
    return list(first.values())
