"""The typed keys under which plugin routes find the app and the principal."""

from collections.abc import Mapping

from aiohttp import web

from nocohost.api.app import App
from nocohost.api.principal import Principal

APP = web.AppKey("APP", App)
"""``request.app[APP]`` is the ``App`` inside a route."""
DECLARED = web.AppKey("DECLARED", Mapping[str, str])
"""The service keys that are known here: declared ones with the distribution that offers them, external ones with ""."""
PRINCIPAL = web.RequestKey("PRINCIPAL", Principal)
"""``request[PRINCIPAL]`` is who sent the request; absent on public routes."""
BODY_BYTES = web.AppKey("BODY_BYTES", int)
"""The largest request body that ``request.read()`` takes."""
