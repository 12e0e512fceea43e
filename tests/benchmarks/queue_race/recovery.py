"""How soon the job of a dead or frozen process starts elsewhere, at the default settings of each library."""

import signal
import time
from itertools import count
from statistics import median

from queue_race.entrant import Entrant, Round
from queue_race.figures import Reading
from queue_race.processes import FailedError, Serving
from queue_race.scale import Scale

PROCESSES = 2
JOB_SECONDS = 30.0
READY_SECONDS = 60.0
SETTLE_SECONDS = 2.0
"""How long a process that was just started is given before the next one dies: it has to be able to take over."""


def recovery(entrant: Entrant, scale: Scale) -> list[Reading]:
    """Kill, and freeze, the process that runs a long job, again and again; another one always lives.

    Ours goes through every kill of the scale; of the others one tells enough.
    """
    kills, freezes = (scale.kills, scale.freezes) if entrant.contestant.is_ours else (1, 1)
    limit = scale.limit_seconds
    return [
        *_suffer(entrant, "killed", signal.SIGKILL, kills, limit),
        *_suffer(entrant, "frozen", signal.SIGSTOP, freezes, limit),
    ]


def _suffer(entrant: Entrant, name: str, number: signal.Signals, times: int, limit: float) -> list[Reading]:
    with entrant.round() as round_, round_.serving(PROCESSES) as processes:
        jobs, found = count(), list[float]()
        for _ in range(times):
            seconds = _strike(round_, processes, next(jobs), number, limit)
            if seconds is None:
                return [Reading(f"{name}, p50", "s", None, f"not within {limit:.0f} s")]
            found.append(seconds)
            time.sleep(SETTLE_SECONDS)
    note = f"{times} times"
    return [Reading(f"{name}, p50", "s", median(found), note), Reading(f"{name}, longest", "s", max(found))]


def _strike(round_: Round, processes: list[Serving], job: int, number: signal.Signals, limit: float) -> float | None:
    """Strike the process that runs the job, start one in its place, and return the seconds until the job runs again."""
    round_.client.ask("enqueue_one", count=1, first=job, seconds=JOB_SECONDS)
    first = round_.await_run(job, READY_SECONDS)
    if first is None:
        raise FailedError(f"job {job} was not begun\n{round_.end_of_log()}")
    place, victim = next((place, one) for place, one in enumerate(processes) if one.holds(first.process))
    struck_at = time.monotonic_ns()
    victim.signal(number)
    processes[place] = victim.again()
    try:
        second = round_.await_run(job, limit, after=struck_at)
    finally:
        victim.kill()
    return None if second is None else (second.at - struck_at) / 1e9
