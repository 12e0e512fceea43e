"""Query parameters and the idempotency key, read strictly: what is unknown or out of range is told."""

import re
from collections.abc import Collection
from typing import Final

from aiohttp import web

from nocohost.web.problems import RequestRefusedError

PAGE_ITEMS: Final = 100
MAX_PAGE_ITEMS: Final = 200
"""How many items a page of a list has at the most."""
MAX_KEY_LETTERS: Final = 255
UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def read_query(request: web.Request, names: Collection[str]) -> dict[str, str]:
    """Return the query parameters.

    Raises a 400 problem for one that is not in ``names``, is given twice, or holds the character NUL.
    """
    values: dict[str, str] = {}
    for name, value in request.query.items():
        if name not in names:
            known = f"one of: {', '.join(names)}" if names else "there is none"
            raise bad_query(f"{name[:100]!r} is no parameter here", known)
        if name in values:
            raise bad_query(f"{name} is given twice")
        if "\0" in value:
            raise bad_query(f"{name} holds the character NUL, which databases do not store")
        values[name] = value
    return values


def page_items(text: str | None) -> int:
    """Return how many items a page has, 100 when ``text`` is None; raises a 400 problem unless it is 1 to 200."""
    if text is None:
        return PAGE_ITEMS
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= MAX_PAGE_ITEMS:
        raise bad_query(f"limit is {text[:20]!r}", f"1 to {MAX_PAGE_ITEMS}")
    return int(text)


def is_id(text: str) -> bool:
    """Tell whether ``text`` is written like the ids that nocohost makes."""
    return UUID.fullmatch(text) is not None


def idempotency_key(request: web.Request) -> str | None:
    """Return the key that makes a repeated request the same one; raises a 400 problem for what is none."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (0 < len(key) <= MAX_KEY_LETTERS and key.isprintable()):
        raise RequestRefusedError(400, f"Idempotency-Key: 1 to {MAX_KEY_LETTERS} printable characters.")
    return key


def bad_query(fault: str, hint: str = "") -> RequestRefusedError:
    """Return the 400 problem for a query parameter."""
    return RequestRefusedError(400, f"The query is wrong: {fault}.", code="http.bad_query", hint=hint)
