"""A job outside of its handler can be looked at, not written."""

import dataclasses
from contextlib import asynccontextmanager

import pytest

from nocohost.api.errors import FenceLostError
from nocohost.api.job import Job


class HeldClaim:
    """A claim that remembers what was written through it."""

    def __init__(self) -> None:
        self.written: list[object] = []
        self.cancel_requested = True

    async def progress(self, done, total, unit):
        self.written.append((done, total, unit))

    @asynccontextmanager
    async def transaction(self):
        yield self.written


async def test_a_job_that_does_not_run_here_writes_nothing():
    job = Job("1", "shop:invoice", {})
    with pytest.raises(FenceLostError, match="job 1 is not running here"):
        await job.progress(1)
    with pytest.raises(FenceLostError):
        job.transaction()
    assert job.cancel_requested is False


async def test_a_running_job_writes_through_its_claim():
    claim = HeldClaim()
    job = Job("1", "shop:invoice", {}, claim=claim)
    await job.progress(1, 2, "rows")
    async with job.transaction() as connection:
        connection.append("row")
    assert claim.written == [(1, 2, "rows"), "row"]
    assert job.cancel_requested is True


def test_a_job_is_a_value_that_does_not_show_its_claim():
    job = Job("1", "shop:invoice", {}, claim=HeldClaim())
    assert job == Job("1", "shop:invoice", {})
    assert "claim" not in repr(job)
    with pytest.raises(dataclasses.FrozenInstanceError):
        job.attempt = 2
