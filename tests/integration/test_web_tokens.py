"""Real tokens of a real database at the gate."""

from aiohttp import web
from probes.web_door import FakeHealth, fake_app, serve
from prometheus_client import CollectorRegistry

from nocohost.api.routes import route
from nocohost.node.settings import HttpSettings
from nocohost.store.tokens import create_token, revoke_token
from nocohost.testing.clock import FakeClock
from nocohost.web.access import Access
from nocohost.web.application import build_application
from nocohost.web.keys import PRINCIPAL


async def who(request: web.Request) -> web.Response:
    return web.json_response(request[PRINCIPAL].id)


def open_real(database, clock):
    app = fake_app(database=database, clock=clock)
    routes = [("shop", route("GET", "/who", who, permission="shop.read"))]
    application = build_application(
        app, routes, Access(app), settings=HttpSettings(), health=FakeHealth(), registry=CollectorRegistry()
    )
    return serve(application, app.log)


async def test_a_token_works_until_it_is_revoked_and_five_seconds_at_most(database):
    clock = FakeClock()
    async with database.begin() as connection:
        ada = await create_token(connection, "ada", ["read"], None)
        eve = await create_token(connection, "eve", ["job.read"], 3600)
    async with open_real(database, clock) as door:
        answer = await door.ask("GET", "/who", token=ada.token)
        assert (answer.status, answer.json()) == (200, "ada")
        assert (await door.ask("GET", "/who", token=eve.token)).status == 403
        assert (await door.ask("GET", "/who", token=ada.token[:-1] + "!")).status == 401
        async with database.begin() as connection:
            await revoke_token(connection, "ada")
        assert (await door.ask("GET", "/who", token=ada.token)).status == 200  # remembered
        clock.advance(5)
        assert (await door.ask("GET", "/who", token=ada.token)).status == 401


async def test_a_token_that_expired_is_refused(database):
    async with database.begin() as connection:
        old = await create_token(connection, "old", ["admin"], -1)
    async with open_real(database, FakeClock()) as door:
        assert (await door.ask("GET", "/who", token=old.token)).status == 401
