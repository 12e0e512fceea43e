"""How long a job waits on an idle node: from just before the enqueue, in another process, to its first line."""

import time
from collections.abc import Sequence

from queue_race.entrant import Entrant
from queue_race.figures import Reading
from queue_race.scale import Scale

GAP_SECONDS = 0.02
SETTLE_SECONDS = 1.0
READY_SECONDS = 60.0
GRACE_SECONDS = 15.0
WARM_UP_JOBS = 2
"""One tells that the serving process is ready, one opens the client's connection."""
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def latency(entrant: Entrant, scale: Scale) -> list[Reading]:
    """Enqueue 50 jobs a second while one process serves."""
    count = scale.paced_jobs
    with entrant.round() as round_, round_.serving(1):
        round_.client.ask("enqueue_one", count=1, first=-1_000_000)
        round_.await_records(1, READY_SECONDS)
        time.sleep(SETTLE_SECONDS)
        round_.client.ask("enqueue_paced", count=count, gap_seconds=GAP_SECONDS)
        records = round_.await_records(WARM_UP_JOBS + count, GRACE_SECONDS)
    waits = sorted((record.at - record.enqueued_at) / 1e6 for record in records if 0 <= record.number < count)
    return [Reading(f"latency {name}", "ms", _quantile(waits, share)) for name, share in QUANTILES.items()]


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
