"""What verbs about jobs take on the command line: JSON, instants, service keys."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click

from nocohost.api.keys import is_key


def read_json(ctx: click.Context, param: click.Parameter, value: str) -> Any:
    """Return the JSON value, or fail with where it ends to be one."""
    try:
        return json.loads(value, object_pairs_hook=_distinct)
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}") from None
    except RecursionError:
        raise click.BadParameter("nested too deeply") from None


def _distinct(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise ValueError(f"member {twice[:100]!r} is given twice")
    return members


def read_instant(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    """Return an instant with its time zone, or fail with what one looks like."""
    if value is None:
        return None
    try:
        instant = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is no instant; write 2030-01-31T12:00:00Z") from None
    if instant.utcoffset() is None:
        raise click.BadParameter(f"{value!r} has no time zone; write {value}Z for UTC")
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise click.BadParameter(f"{value!r} is outside the years 1 to 9999 in UTC") from None


def read_key(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return a service key, which need not be installed here, or fail with what one looks like."""
    if value is not None and not is_key(value):
        raise click.BadParameter(f"{value!r} is no service key; one is noun:verb")
    return value
