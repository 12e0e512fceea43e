"""The claim of a running attempt: what its handler may write, and until when."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from nocohost.api.errors import PayloadError
from nocohost.queue.payload import json_value
from nocohost.store.claims import Claimed, store_progress, verify_claim
from nocohost.store.database import SqlDatabase

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


class HeldClaim:
    """Implements ``nocohost.api.job.Claim`` on the database."""

    __slots__ = ("_database", "_job", "_open", "cancel_requested")

    def __init__(self, database: SqlDatabase, job: Claimed) -> None:
        self._database = database
        self._job = job
        self._open: AsyncConnection | None = None
        self.cancel_requested = False
        """Whether somebody asked to cancel the job, as far as this node knows."""

    async def progress(
        self, done: int, total: int | None, unit: str, *, connection: "AsyncConnection | None" = None
    ) -> None:
        """Store how far the attempt is; raises ``FenceLostError``, and ``PayloadError`` for what is no number."""
        for number in (done, total):
            if number is not None and (isinstance(number, bool) or not isinstance(number, int | float)):
                raise PayloadError(f"progress {number!r} is no number")
        told = {"done": done, "total": total, "unit": unit}
        progress = json_value("progress", told)
        if connection is None and self._database.in_write_transaction:
            # SQLite has one writer, and this task is it: the progress shows when its transaction commits.
            connection = self._open
        if connection is not None:
            self.cancel_requested |= await store_progress(connection, self._job, progress)
            return
        async with self._database.autocommit() as own:
            self.cancel_requested |= await store_progress(own, self._job, progress)

    async def verify(self, connection: "AsyncConnection") -> None:
        """Make sure that the claim holds until the transaction of ``connection`` ends; raises ``FenceLostError``."""
        await verify_claim(connection, self._job)

    def request_cancel(self) -> None:
        """Note that somebody asked to cancel the job."""
        self.cancel_requested = True

    def transaction(self) -> "AbstractAsyncContextManager[AsyncConnection]":
        """Open a transaction that commits only while the claim holds; raises ``FenceLostError`` instead."""
        return self._transaction()

    @asynccontextmanager
    async def _transaction(self) -> "AsyncIterator[AsyncConnection]":
        async with self._database.begin() as connection:
            self._open = connection
            try:
                yield connection
            finally:
                self._open = None
            # Last thing before the commit: the row stays locked from here on, so nothing can come between.
            await verify_claim(connection, self._job)
