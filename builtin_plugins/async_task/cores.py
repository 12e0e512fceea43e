"""How many cores this process may use: those of the machine, less what an affinity or a container takes away."""

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def usable_cores(cgroup: Path = CGROUP) -> int:
    """Return how many cores this process may use, at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    quota = _quota(cgroup)
    return max(1, count if quota is None else min(count, math.ceil(quota)))


def _quota(cgroup: Path) -> float | None:
    """Return what a container is given of the processors, None where nothing says."""
    for names, split in ((("cpu.max",), True), (("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"), False)):
        files = [cgroup / name for name in names]
        if all(file.is_file() for file in files):
            words = files[0].read_text().split() if split else [file.read_text().strip() for file in files]
            if len(words) == len(("quota", "period")) and words[0].isdigit() and int(words[1]) > 0:
                return int(words[0]) / int(words[1])
    return None
