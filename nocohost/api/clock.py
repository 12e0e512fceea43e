"""Time as something handed in, so that a test can turn it."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """What a node asks the time of. Leases, schedules and ``run_at`` are decided by the database's clock instead."""

    def now(self) -> datetime:
        """Return the wall clock's instant, in UTC."""

    def monotonic(self) -> float:
        """Return seconds that only ever rise, for measuring how long something takes."""

    async def sleep(self, seconds: float) -> None:
        """Wait ``seconds``; zero or less yields once."""
