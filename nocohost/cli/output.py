"""What verbs print: tables for people, JSON for programs, one clear line for an error; and the exit codes."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import click

from nocohost.api.errors import (
    ConfigError,
    FenceLostError,
    NocohostError,
    PayloadError,
    PayloadTooLargeError,
    SchemaVersionError,
    StorageUnavailableError,
    StoreUnavailableError,
    UnknownKeyError,
)

FAILED = 1
REFUSED = 2
"""Usage or configuration."""
PROBLEMS_FOUND = 3
"""A check did its work and found problems."""
UNAVAILABLE = 69
INTERNAL = 70
INTERRUPTED = 130

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
"""The option ``--json``; the verb receives ``as_json``. With it, ``main`` prints errors as JSON on stdout too."""


def exit_code(error: NocohostError) -> int:
    """Return the exit code that tells a caller what kind of error this is."""
    if isinstance(error, ConfigError | UnknownKeyError | PayloadError | PayloadTooLargeError):
        return REFUSED
    if isinstance(error, StoreUnavailableError | SchemaVersionError | StorageUnavailableError):
        return UNAVAILABLE
    return INTERNAL if isinstance(error, FenceLostError) else FAILED


def show_json(value: Any) -> None:
    """Print a JSON value; anything JSON does not know raises ``TypeError``."""
    click.echo(json.dumps(value, indent=2))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print aligned columns under their names, the same on a terminal and into a pipe. None shows as nothing."""
    cells = [list(columns), *([printable("" if cell is None else str(cell)) for cell in row] for row in rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
    for row in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def show_error(error: NocohostError, *, as_json: bool = False) -> None:
    """Print an error: as a JSON object on stdout, or on stderr as one line, and one more for each of several faults."""
    faults: Sequence[str] = getattr(error, "faults", ())
    joined = "; ".join(faults)
    if as_json:
        told = error.as_dict()
        if joined not in error.message:
            told["message"] = f"{error.message}: {joined}"
        show_json({"error": told})
    elif len(faults) > 1 or (faults and joined not in error.message):
        hint = f" ({error.hint})" if error.hint else ""
        click.echo(printable(f"nocohost: {error.message.removesuffix(joined).rstrip(': ')}{hint}"), err=True)
        for fault in faults:
            click.echo(printable(f"  {fault}"), err=True)
    else:
        click.echo(printable(f"nocohost: {error}"), err=True)


def printable(text: str) -> str:
    """Return ``text`` with everything escaped that could move the cursor, or hide or forge a line."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
