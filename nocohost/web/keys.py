"""The typed keys under which plugin routes find the app and the principal."""

from collections.abc import Mapping
from typing import Protocol

from aiohttp import web

from nocohost.api.app import App
from nocohost.api.principal import Principal


class Wake(Protocol):
    """Has other nodes and this one look at once: for work under a service key, or for the next tick of a schedule."""

    def __call__(self, name: str, /) -> None:
        """Tell them; call it after the commit. Returns at once, and never raises."""


APP = web.AppKey("APP", App)
"""``request.app[APP]`` is the ``App`` inside a route."""
DECLARED = web.AppKey("DECLARED", Mapping[str, str])
"""The service keys that are known here: declared ones with the distribution that offers them, external ones with ""."""
WAKE = web.AppKey("WAKE", Wake)
"""``request.app[WAKE](key)`` follows a change by hand: jobs of the key may be due now."""
RETIME = web.AppKey("RETIME", Wake)
"""``request.app[RETIME](name)`` follows a change by hand: the next tick of the schedule may have moved."""
PRINCIPAL = web.RequestKey("PRINCIPAL", Principal)
"""``request[PRINCIPAL]`` is who sent the request; absent on public routes."""
BODY_BYTES = web.AppKey("BODY_BYTES", int)
"""The largest request body that ``request.read()`` takes."""
