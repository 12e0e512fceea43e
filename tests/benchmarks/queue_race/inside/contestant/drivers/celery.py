"""Celery on Redis, processes forked by its own command line. It knows no asynchronous tasks, and no call for many."""

import os
import sys
from collections.abc import Sequence
from typing import Any

import redis
from celery import Celery

from contestant import records
from contestant.driver import AbsentError

QUEUE = "race"
PREFETCH = 128
app = Celery("race", broker=os.environ["RACE_URL"])
app.conf.update(
    task_ignore_result=True,
    task_default_queue=QUEUE,
    worker_prefetch_multiplier=PREFETCH,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
)


@app.task(name="race")
def race(job: dict[str, Any]) -> None:
    """Run one job."""
    records.run_blocking(job)


class Driver:
    """See ``contestant.driver``."""

    concurrent = False
    bulk = 1

    def __init__(self) -> None:
        self.settings = {
            "pool": "prefork, a child for each process",
            "worker_prefetch_multiplier": PREFETCH,
            "task_acks_late": False,
            "task_ignore_result": True,
            "flags": "--without-gossip --without-mingle --without-heartbeat",
        }

    async def prepare(self) -> None:
        """Make nothing: Redis makes keys as they come."""

    async def open(self) -> None:
        """Connect."""
        self._connection = app.connection_for_write()
        self._producer = app.amqp.Producer(self._connection)
        self._redis = redis.Redis.from_url(os.environ["RACE_URL"])

    async def close(self) -> None:
        """Disconnect."""
        self._connection.close()
        self._redis.close()

    async def enqueue(self, job: dict[str, Any]) -> None:
        """Send one."""
        race.apply_async((job,), producer=self._producer)

    async def enqueue_many(self, jobs: Sequence[dict[str, Any]]) -> None:
        """Say that there is no call for many."""
        raise AbsentError("no call for many jobs")

    async def unfinished(self) -> int:
        """Return what is queued or not yet acknowledged."""
        return int(self._redis.llen(QUEUE)) + int(self._redis.hlen("unacked"))

    def commands(self, processes: int) -> list[list[str]]:
        """Return one parent with a child for each process."""
        command = [sys.executable, "-m", "celery", "-A", "contestant.drivers.celery:app", "worker", "-l", "ERROR"]
        command += ["-Q", QUEUE, "-P", "prefork", "-c", str(processes)]
        return [[*command, "--without-gossip", "--without-mingle", "--without-heartbeat"]]
