"""How much of everything: long enough to mean something, or quick enough to be run after every change."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """``seconds`` is what one timed run should last; the number of jobs follows from the pace seen before."""

    rounds: int
    seconds: float
    probe_jobs: int
    most_jobs: int
    limit_seconds: float
    paced_jobs: int
    kills: int
    freezes: int
    history_rows: int
    parked_jobs: int

    def jobs(self, pace: float) -> int:
        """Return how many jobs a run at this pace (jobs per second) is given."""
        return int(max(self.probe_jobs, min(self.most_jobs, pace * self.seconds)))


FULL = Scale(
    rounds=3,
    seconds=2.5,
    probe_jobs=1000,
    most_jobs=60_000,
    limit_seconds=90.0,
    paced_jobs=300,
    kills=50,
    freezes=3,
    history_rows=1_000_000,
    parked_jobs=100_000,
)
QUICK = Scale(
    rounds=1,
    seconds=1.0,
    probe_jobs=300,
    most_jobs=15_000,
    limit_seconds=30.0,
    paced_jobs=100,
    kills=2,
    freezes=1,
    history_rows=100_000,
    parked_jobs=10_000,
)
