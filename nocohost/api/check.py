"""A plugin's own health check, shown by ``/readyz``."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One named health check.

    ``probe`` is awaited with a deadline; returning is health, the text it may return is shown, an exception is failure.
    A ``critical`` check that fails makes the node not ready; another only shows.
    """

    name: str
    probe: Callable[[], Awaitable[str | None]]
    critical: bool = True
