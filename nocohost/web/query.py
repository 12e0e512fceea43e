"""Query parameters, read strictly: an unknown name or a value out of range is told, never passed over."""

import re
from collections.abc import Collection
from typing import Final

from aiohttp import web

from nocohost.web.problems import RequestRefusedError

PAGE_ITEMS: Final = 100
MAX_PAGE_ITEMS: Final = 200
UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def read_query(request: web.Request, names: Collection[str]) -> dict[str, str]:
    """Return the query parameters; raises a 400 problem for one that is not in ``names`` or is given twice."""
    values: dict[str, str] = {}
    for name, value in request.query.items():
        if name not in names:
            raise bad_query(f"{name[:100]!r} is no parameter here", f"one of: {', '.join(names)}")
        if name in values:
            raise bad_query(f"{name} is given twice")
        values[name] = value
    return values


def page_items(text: str | None) -> int:
    """Return how many items a page has; raises a 400 problem unless it is 1 to 200."""
    if text is None:
        return PAGE_ITEMS
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= MAX_PAGE_ITEMS:
        raise bad_query(f"limit is {text[:20]!r}", f"1 to {MAX_PAGE_ITEMS}")
    return int(text)


def is_id(text: str) -> bool:
    """Tell whether ``text`` is written like the ids that nocohost makes."""
    return UUID.fullmatch(text) is not None


def bad_query(fault: str, hint: str = "") -> RequestRefusedError:
    """Return the 400 problem for a query parameter."""
    return RequestRefusedError(400, f"The query is wrong: {fault}.", code="http.bad_query", hint=hint)
