"""What a drain costs in processor time: the number that a busy machine disturbs least."""

from collections.abc import Iterable
from dataclasses import dataclass

import psutil

from queue_race.processes import Serving

MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Effort:
    """Processor seconds, since they began, of the serving processes and of the PostgreSQL backends of one database."""

    serving: float
    backends: float

    @classmethod
    def of(cls, processes: Iterable[Serving], url: str) -> "Effort":
        """Look now; what has ended meanwhile does not count."""
        serving = (one for process in processes for one in process.family())
        return cls(sum(map(_seconds, serving)), sum(map(_seconds, _backends(url.rpartition("/")[2]))))

    def since(self, earlier: "Effort", jobs: int) -> "Effort":
        """Return what was spent since then, in microseconds for each job."""
        share = MICROSECONDS / jobs
        return Effort((self.serving - earlier.serving) * share, (self.backends - earlier.backends) * share)


def _backends(database: str) -> Iterable[psutil.Process]:
    """Yield the backends of this machine that serve the database: PostgreSQL writes its name into their titles."""
    for process in psutil.process_iter(["name", "cmdline"]):
        if process.info["name"] == "postgres" and f" {database} " in " ".join(process.info["cmdline"] or ()):
            yield process


def _seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return times.user + times.system
