"""Whether a queue slows down with its past: the same drain on an empty database and beside a great many other rows."""

from queue_race.entrant import Entrant
from queue_race.figures import Reading
from queue_race.scale import Scale
from queue_race.throughput import drain_round


def ballast(entrant: Entrant, scale: Scale) -> list[Reading]:
    """Drain with one process beside history and parked jobs of another key, and, just before, beside nothing."""
    if "drain" not in entrant.pace:
        with entrant.round() as round_:
            entrant.pace["drain"] = drain_round(round_, 1, scale.probe_jobs, scale).acknowledged
    jobs = scale.jobs(entrant.pace["drain"])
    with entrant.round() as round_:
        empty = drain_round(round_, 1, jobs, scale)
    with entrant.round() as round_:
        drain_round(round_, 1, 1, scale)
        round_.client.ask("add_ballast", history=scale.history_rows, parked=scale.parked_jobs)
        round_.forget()
        full = drain_round(round_, 1, jobs, scale)
    note = f"beside {scale.history_rows:,} rows of history and {scale.parked_jobs:,} parked jobs"
    effort = full.effort.backends / max(empty.effort.backends, 1.0)
    return [
        Reading("ballast", "of the empty drain", full.acknowledged / empty.acknowledged, note),
        Reading("ballast, processor time of PostgreSQL", "of the empty drain", effort),
    ]
