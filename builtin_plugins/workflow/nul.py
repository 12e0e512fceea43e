"""The NUL character: JSON has it, a text of PostgreSQL and of an expression does not."""

import json
from collections.abc import Iterator
from typing import Any


def holds_nul(value: Any) -> bool:
    """Tell whether any text or name in a JSON value has a NUL character."""
    if isinstance(value, str):
        return "\0" in value
    if not isinstance(value, dict | list):
        return False
    # A backslash before a u looks the same once it is written, so only what looks so is walked.
    return "\\u0000" in json.dumps(value, default=str) and next(nul_faults(value, ""), None) is not None


def nul_faults(value: Any, where: str) -> Iterator[str]:
    """Return where texts and names in a JSON value have a NUL character, as faults of a definition."""
    waiting = [(value, where)]
    while waiting:
        one, at = waiting.pop()
        if isinstance(one, str) and "\0" in one:
            yield f"{at}: a text with a NUL character, which no database keeps"
        elif isinstance(one, dict):
            if any("\0" in name for name in one if isinstance(name, str)):
                yield f"{at}: a name with a NUL character, which no database keeps"
            waiting += reversed([(inner, f"{at}/{name}") for name, inner in one.items()])
        elif isinstance(one, list):
            waiting += reversed([(inner, f"{at}/{place}") for place, inner in enumerate(one)])
