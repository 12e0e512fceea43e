"""The headers that every response carries."""

import re
from collections.abc import Mapping

from aiohttp import hdrs, web
from multidict import istr

X_REQUEST_ID = istr("X-Request-Id")
X_CONTENT_TYPE_OPTIONS = istr("X-Content-Type-Options")
DOCUMENT_PROTECTION: Mapping[istr, str] = {
    istr("Content-Security-Policy"): "default-src 'self'; frame-ancestors 'none'",
    istr("Cross-Origin-Resource-Policy"): "same-origin",
    istr("Referrer-Policy"): "no-referrer",
}
"""For whatever a browser might show, unless its handler has said otherwise. JSON that is not sniffed needs none."""

FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""What the field of a header cannot hold; a newline would begin another field, or the body."""


def protect(response: web.StreamResponse, request_id: str) -> None:
    """Set the headers on ``response``. ``Server`` tells neither a library nor a version."""
    headers = response.headers
    headers[hdrs.SERVER] = "nocohost"
    headers[X_CONTENT_TYPE_OPTIONS] = "nosniff"
    if "json" not in headers.get(hdrs.CONTENT_TYPE, ""):
        for name, value in DOCUMENT_PROTECTION.items():
            headers.setdefault(name, value)
    if request_id:
        headers[X_REQUEST_ID] = request_id


def refuse_broken_fields(headers: Mapping[str, str]) -> None:
    """Raise ``ValueError`` when a field cannot be sent, as aiohttp does once it writes the head."""
    for name, value in headers.items():
        if FORBIDDEN.search(name) or FORBIDDEN.search(value):
            raise ValueError(f"the header {name!r} holds a control character and cannot be sent")
