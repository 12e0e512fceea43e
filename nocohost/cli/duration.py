"""Durations on the command line: ``90d``, ``12h``, ``30m``, ``2w``, ``45s``."""

import re
from collections.abc import Mapping

import click

SECONDS: Mapping[str, int] = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
DURATION = re.compile(r"([1-9][0-9]{0,8})([smhdw])")
LONGEST_SECONDS = 100 * 365 * 86_400


def read_duration(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Return the seconds of a duration such as ``90d`` or ``12h``, or fail with what one looks like."""
    if value is None:
        return None
    found = DURATION.fullmatch(value)
    seconds = int(found[1]) * SECONDS[found[2]] if found else 0
    if not 0 < seconds <= LONGEST_SECONDS:
        raise click.BadParameter(f"{value!r} is no duration of at most 100 years; write 90d, 12h, 30m, 2w or 45s")
    return seconds
