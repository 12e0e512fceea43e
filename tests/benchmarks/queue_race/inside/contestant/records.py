"""The body of every job of every contestant: one record appended to a file, and the file read back.

A record is 32 bytes, written by one ``write`` to a file opened for appending: the number of the job, the process that
runs it, the instant, and the instant just before the job was enqueued. Instants are nanoseconds of the monotonic clock,
which all processes of a machine share.
"""

import asyncio
import os
import struct
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

FILE = "RACE_RECORDS"
"""The environment variable that names the file."""
LAYOUT = struct.Struct("<qqqq")


class Record(NamedTuple):
    """One start of a job, or the end of a job that takes time, whose ``number`` is then below zero."""

    number: int
    process: int
    at: int
    enqueued_at: int


class _Pen:
    """The file, opened once in each process, forked ones too."""

    def __init__(self) -> None:
        self._process = 0
        self._file = -1

    def write(self, number: int, enqueued_at: int) -> None:
        process = os.getpid()
        if process != self._process:
            self._file = os.open(os.environ[FILE], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            self._process = process
        os.write(self._file, LAYOUT.pack(number, process, time.monotonic_ns(), enqueued_at))


PEN = _Pen()


async def run(job: Mapping[str, Any]) -> None:
    """Do the whole job, for libraries with asynchronous handlers."""
    PEN.write(job["number"], job["at"])
    if job["seconds"]:
        await asyncio.sleep(job["seconds"])
        PEN.write(-1 - job["number"], job["at"])


def run_blocking(job: Mapping[str, Any]) -> None:
    """Do the whole job, for libraries with plain handlers."""
    PEN.write(job["number"], job["at"])
    if job["seconds"]:
        time.sleep(job["seconds"])
        PEN.write(-1 - job["number"], job["at"])


def new_job(number: int, seconds: float = 0.0) -> dict[str, Any]:
    """Return the payload of a job that is about to be enqueued."""
    return {"number": number, "at": time.monotonic_ns(), "seconds": seconds}


def count(file: str) -> int:
    """Return how many records the file has."""
    try:
        return os.path.getsize(file) // LAYOUT.size
    except FileNotFoundError:
        return 0


def read(file: str) -> Iterator[Record]:
    """Yield the records in the order they were written."""
    with open(file, "rb") as opened:
        content = opened.read()
    whole = len(content) - len(content) % LAYOUT.size
    return (Record(*fields) for fields in LAYOUT.iter_unpack(content[:whole]))
