"""How soon a new process works, and how much memory it takes when there is nothing to do."""

import time

import psutil

from queue_race.entrant import Entrant
from queue_race.figures import Reading
from queue_race.scale import Scale

READY_SECONDS = 60.0
IDLE_SECONDS = 3.0
MIB = 1024 * 1024


def start(entrant: Entrant, scale: Scale) -> list[Reading]:
    """Let one job wait, start a process, and look at its memory once that job is long done."""
    with entrant.round() as round_:
        round_.client.ask("enqueue_one", count=1)
        with round_.serving(1) as processes:
            first = round_.await_records(1, READY_SECONDS)[0]
            time.sleep(IDLE_SECONDS)
            own, *children = map(_resident, processes[0].family())
        seconds = (first.at - processes[0].started_at) / 1e9
    return [
        Reading("start", "s", seconds),
        Reading("memory", "MiB", own),
        Reading("memory of its children", "MiB", sum(children)),
    ]


def _resident(process: psutil.Process) -> float:
    return process.memory_info().rss / MIB
