"""The headers that every response carries."""

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
