"""How fast a task goes: when its progress is worth storing again, at what rate it goes, and how long it will take."""

from collections import deque
from typing import Any

STORE_SECONDS = 0.5
"""Progress is stored at most this often; what comes in between is left out."""
WINDOW_SECONDS = 10.0
"""The rate is that of so long a time, so that it follows what the task does now."""


class Pace:
    """The progress of one attempt, by the monotonic clock."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque()
        self._stored_at: float | None = None

    def step(self, done: float, total: float | None, unit: str, now: float) -> dict[str, Any] | None:
        """Note the progress; return it with its rate when it is to be stored, the first and the last always are."""
        if not self._seen or done < self._seen[-1][1]:
            self._seen.clear()  # it counts something else from here on
            self._seen.append((now, done))
        is_last = total is not None and done >= total
        if self._stored_at is not None and now - self._stored_at < STORE_SECONDS and not is_last:
            return None
        self._stored_at = now
        self._seen.append((now, done))
        while len(self._seen) > 2 and self._seen[1][0] <= now - WINDOW_SECONDS:
            self._seen.popleft()
        rate = self._rate()
        left = None if not rate or total is None else max(total - done, 0) / rate
        return {
            "done": done,
            "total": total,
            "unit": unit,
            "rate": None if rate is None else round(rate, 3),
            "seconds_left": None if left is None else round(left, 1),
        }

    def _rate(self) -> float | None:
        (began, first), (now, last) = self._seen[0], self._seen[-1]
        return (last - first) / (now - began) if now > began else None
