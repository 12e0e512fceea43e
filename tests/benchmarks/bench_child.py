"""How soon a handler starts in a child: from the work order to its first line, from a warm spare and without one.

Prints medians, and what a spare costs in memory; exits 3 when a warm start takes longer than 100 ms at the median.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import structlog
from prometheus_client import CollectorRegistry

sys.path.insert(0, str(Path(__file__).parents[1]))

from plugins.wheels import Wheel, install

from nocohost.api.job import Job
from nocohost.api.room import WorkOrder
from nocohost.api.service import Service
from nocohost.host.build import build_node
from nocohost.host.rooms import Rooms
from nocohost.node.clock import SystemClock
from nocohost.node.identity import new_claim_id, new_id
from nocohost.node.mode import parse_mode
from nocohost.node.settings import load_settings
from nocohost.plugins.catalogue import read_catalogue

KEY = "bench:start"
LIMIT_SECONDS = 0.1
SOURCE = f"""
import time
from nocohost import Service, hookimpl

def handler(job):
    return time.monotonic()

@hookimpl
def register_services(app):
    return [Service("{KEY}", handler, isolation="process")]
"""
LOG = structlog.wrap_logger(structlog.ReturnLogger(), processors=[lambda *event: ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="timed starts of each kind")
    parser.add_argument("--json", type=Path, help="write the numbers to this file, too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        site = install(
            [Wheel("bench-child", {"bench_child_start.py": SOURCE}, {"services": {KEY: "bench_child_start"}})],
            Path(folder),
        )
        sys.path.insert(0, str(site))
        found = asyncio.run(measure(Path(folder), arguments.runs))
    for name, value in found.items():
        print(f"{name:32} {value:10.1f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))
    sys.exit(0 if found["warm start, p50 ms"] <= LIMIT_SECONDS * 1000 else 3)


async def measure(folder: Path, runs: int) -> dict[str, float]:
    cold, _ = await start_times(folder, runs, spares=0)
    warm, memory = await start_times(folder, runs, spares=1)
    return {
        "warm start, p50 ms": median(warm) * 1000,
        "warm start, worst ms": max(warm) * 1000,
        "cold start, p50 ms": median(cold) * 1000,
        "cold start, worst ms": max(cold) * 1000,
        "RSS of a spare, MiB": memory / 2**20,
    }


async def start_times(folder: Path, runs: int, spares: int) -> tuple[list[float], float]:
    """Return the seconds from each work order to its handler, and the resident bytes of the last spare."""
    environ = {"NOCOHOST_DATA_DIR": str(folder), "NOCOHOST_QUEUE__SPARE_CHILDREN": str(spares)}
    catalogue = read_catalogue()
    mode = parse_mode("*", declared=catalogue.declared_keys).mode
    parts = build_node(load_settings(environ).settings, catalogue, mode, clock=SystemClock(), log=LOG)
    service = Service(KEY, lambda job: None, isolation="process")
    rooms = Rooms(parts, {KEY: service}, CollectorRegistry())
    await rooms.open()
    room = rooms.by_isolation["process"]
    times, memory = [], 0.0
    try:
        for number in range(runs + 1):
            while spares and number and not any(child.ready.is_set() for child in room.spares.waiting):
                await asyncio.sleep(0.02)
            memory = float(sum(child.resident_bytes for child in room.spares.waiting))
            order = WorkOrder(new_id(), KEY, {}, 1, 5, 1, new_claim_id(), new_id(), datetime.now(UTC))
            begun = time.monotonic()
            seconds = await room.run(service, Job(order.id, KEY, {}), order) - begun
            if number:  # spares are kept from the first order on
                times.append(seconds)
    finally:
        await rooms.close()
        await parts.close()
    return times, memory


if __name__ == "__main__":
    main()
