"""The clock of a real node: the machine's."""

import asyncio
import time
from datetime import UTC, datetime


class SystemClock:
    """A ``Clock`` that asks the operating system."""

    def now(self) -> datetime:
        """Return the wall clock's instant, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that only ever rise, whatever happens to the wall clock."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait ``seconds``; zero or less yields once."""
        await asyncio.sleep(max(seconds, 0.0))
