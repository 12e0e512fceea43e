"""The gate on real sockets: who comes in, and what becomes of errors."""

import asyncio

import pytest
from aiohttp import web
from probes.web_door import ADMIN_TOKEN, Tokens, fake_app, open_door, parsed
from prometheus_client import CollectorRegistry
from structlog.contextvars import merge_contextvars

from nocohost.api.errors import NestedWriteError, PluginContractError, StoreUnavailableError, UnknownKeyError
from nocohost.api.principal import Principal
from nocohost.api.routes import Route, route
from nocohost.node.settings import HttpSettings
from nocohost.web.gate import GATE
from nocohost.web.keys import APP, PRINCIPAL
from nocohost.web.metrics import exposition

READER = "nch_reader_secret"
TOKENS = {"reader": ["shop.read"], "nobody": []}


async def hello(request: web.Request) -> web.Response:
    assert request.app[APP] is not None
    return web.json_response({"hello": request[PRINCIPAL].id if PRINCIPAL in request else "anybody"})


def raising(error: Exception):
    async def handler(request: web.Request) -> web.Response:
        raise error

    return handler


def open_shop(*routes: Route, **options):
    defaults = {"tokens": Tokens(**TOKENS)}
    return open_door(
        [route("GET", "/hello", hello, permission="shop.read"), route("GET", "/open", hello, public=True), *routes],
        **{**defaults, **options},
    )


async def test_a_route_is_refused_to_anybody_without_its_permission():
    async with open_shop() as door:
        anonymous = await door.ask("GET", "/hello")
        assert (anonymous.status, anonymous.json()["code"]) == (401, "http.unauthorized")
        assert anonymous.headers["WWW-Authenticate"] == 'Bearer realm="nocohost"'
        assert (await door.ask("GET", "/hello", token="nch_wrong_secret")).status == 401
        without_right = await door.ask("GET", "/hello", token="nch_nobody_secret")
        assert (without_right.status, without_right.json()["code"]) == (403, "http.forbidden")
        for token, principal in ((READER, "reader"), (ADMIN_TOKEN, "admin")):
            for _ in range(2):  # asked, then remembered
                answer = await door.ask("GET", "/hello", token=token)
                assert (answer.status, answer.json()) == (200, {"hello": principal})
        assert (await door.ask("GET", "/open")).json() == {"hello": "anybody"}


async def test_every_route_but_health_and_public_ones_is_401_for_anybody_unknown():
    async with open_shop(route("POST", "/shop/{order}/pay", hello, permission="shop.order")) as door:
        application = door.server._application
        walked = 0
        for known in application.router.routes():
            path = known.resource.canonical.replace("{", "").replace("}", "")
            answer = await door.ask(known.method, path)
            expected = 200 if path in {"/livez", "/readyz", "/healthz", "/open"} else 401
            assert answer.status == expected, f"{known.method} {path}"
            walked += 1
        assert walked > 15


async def test_a_router_without_its_gate_refuses_everything():
    async with open_shop() as door:
        application = door.server._application
        assert GATE in application
        for known in application.router.routes():
            with pytest.raises(web.HTTPForbidden):
                await known.handler(None)


async def test_head_is_answered_where_get_is_and_says_nothing_more():
    async def own_head(request: web.Request) -> web.Response:
        return web.Response(headers={"X-Own": "yes"})

    own = [route("GET", "/own", hello, public=True), route("HEAD", "/own", own_head, public=True)]
    async with open_shop(*own) as door:
        answer = await door.ask("HEAD", "/open")
        assert (answer.status, answer.body) == (200, b"")
        assert (await door.ask("HEAD", "/hello")).status == 401
        assert (await door.ask("HEAD", "/own")).headers["X-Own"] == "yes"


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/hello/", "/hello/x", "//hello", "/api", "/api/v1/", "/metrics", "/%00"]
)
async def test_a_path_without_a_route_is_404_for_anybody(path):
    async with open_shop() as door:
        answer = await door.ask("GET", path)
        assert (answer.status, answer.json()["code"]) == (404, "http.not_found")
        assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("method", ["POST", "DELETE", "TRACE", "PROPFIND"])
async def test_a_method_that_the_path_does_not_have_is_405_with_those_it_has(method):
    async with open_shop() as door:
        answer = await door.ask(method, "/hello")
        assert (answer.status, answer.json()["code"]) == (405, "http.method_not_allowed")
        assert answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "target",
    [b"OPTIONS * HTTP/1.1", b"CONNECT evil.example:443 HTTP/1.1", b"GET http://evil.example/nothing HTTP/1.1"],
)
async def test_targets_that_are_no_path_are_problems_too(target):
    async with open_shop() as door:
        answer = parsed(await door.send(target + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
        assert answer.status in {404, 405}
        assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("path", "outside"),
    [("/{tail:.*}", "/any/thing"), ("/api{tail:.*}", "/apis/thing"), ("/a{tail:.*}", "/any/thing")],
)
async def test_a_path_whose_variable_could_stand_for_the_api_stays_out_of_it(path, outside):
    catch_all = route("GET", path, hello, public=True)
    async with open_shop(catch_all) as door:
        assert (await door.ask("GET", outside)).status == 200
        assert (await door.ask("GET", "/api/v1/nothing")).status == 404
        assert (await door.ask("GET", "/api")).status == 404
        assert (await door.ask("GET", "/livez")).json() == {"status": "ok"}
        assert (await door.ask("GET", "/api/v1/jobs")).status == 401


async def test_variables_of_a_path_reach_the_handler():
    async def order(request: web.Request) -> web.Response:
        return web.json_response(dict(request.match_info))

    async with open_shop(route("GET", r"/orders/{order:\d+}/{part}", order, public=True)) as door:
        assert (await door.ask("GET", "/orders/7/a%2Fb?x=1")).json() == {"order": "7", "part": "a/b"}
        assert (await door.ask("GET", "/orders/x/y")).status == 404


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (UnknownKeyError("no such key", hint="did you mean"), 404, "queue.unknown_key"),
        (StoreUnavailableError("no route to db.internal"), 503, "store.unavailable"),
        (NestedWriteError("a bug of the plugin"), 500, "http.internal"),
        (ValueError("a bug of the plugin"), 500, "http.internal"),
        (TimeoutError(), 500, "http.internal"),
        (RecursionError(), 500, "http.internal"),
        (web.HTTPConflict(text="locked"), 409, "http.conflict"),
        (web.HTTPServiceUnavailable(), 503, "http.unavailable"),
    ],
)
async def test_whatever_a_handler_raises_is_a_problem(error, status, code):
    async with open_shop(route("GET", "/raise", raising(error), public=True)) as door:
        answer = await door.ask("GET", "/raise")
        shown = answer.json()
        assert (answer.status, shown["code"], shown["status"]) == (status, code, status)
        assert shown["request_id"] == answer.headers["X-Request-Id"]
        assert b"bug" not in answer.body
        assert b"internal:" not in answer.body
        logged = [fields for _, event, fields in door.log.lines if event.startswith("http.")]
        assert bool(logged) == (status >= 500 and not isinstance(error, web.HTTPException))


async def test_the_traceback_of_a_failure_is_in_the_log_alone():
    error = ValueError("the password is hunter2")
    async with open_shop(route("GET", "/raise", raising(error), public=True)) as door:
        answer = await door.ask("GET", "/raise")
        assert b"hunter2" not in answer.body
        assert [fields["exc_info"] for fields in door.log.events("http.failed")] == [error]
        assert (await door.ask("GET", "/open")).status == 200


@pytest.mark.parametrize("result", [None, "text", {"a": 1}])
async def test_a_handler_that_returns_no_response_is_told_in_the_log(result):
    async def wrong(request: web.Request):
        return result

    async with open_shop(Route("GET", "/wrong", wrong, public=True)) as door:
        assert (await door.ask("GET", "/wrong")).status == 500
        assert "not a response" in str(door.log.events("http.failed")[0]["exc_info"])


async def test_redirects_are_passed_on():
    async with open_shop(route("GET", "/old", raising(web.HTTPFound("/open")), public=True)) as door:
        answer = await door.ask("GET", "/old")
        assert (answer.status, answer.headers["Location"]) == (302, "/open")


async def test_half_a_response_does_not_look_like_a_whole_one():
    async def breaking(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half")
        raise ValueError("the other half")

    async with open_shop(route("GET", "/breaking", breaking, public=True)) as door:
        data = await door.send(b"GET /breaking HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"half" in data
        assert not data.endswith(b"0\r\n\r\n")
        assert data.count(b"HTTP/1.1") == 1
        assert len(door.log.events("http.broken_off")) == 1


async def test_a_client_that_leaves_is_no_failure(caplog):
    left = asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        await left.wait()
        await asyncio.sleep(0.05)
        raise ValueError("nobody is there to be told")

    async with open_shop(route("GET", "/slow", slow, public=True)) as door:
        _, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await asyncio.sleep(0.05)
        writer.transport.abort()
        left.set()
        async with asyncio.timeout(30):
            while door.server.connections:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert door.log.events("http.failed") == []
        assert [record for record in caplog.records if record.exc_info] == []
        assert door.server.connections == 0


async def test_responses_carry_protective_headers():
    async def page(request: web.Request) -> web.Response:
        return web.Response(text="<p>hi</p>", content_type="text/html")

    async def framed(request: web.Request) -> web.Response:
        return web.Response(text="x", headers={"Content-Security-Policy": "frame-ancestors 'self'"})

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write_eof(b"x")
        return response

    routes = [route("GET", f"/{name.__name__}", name, public=True) for name in (page, framed, stream)]
    async with open_shop(*routes) as door:
        for path in ("/open", "/hello", "/nothing", "/page", "/stream", "/livez"):
            headers = (await door.ask("GET", path)).headers
            assert headers["Server"] == "nocohost"
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert len(headers["X-Request-Id"]) == 20
        for path in ("/page", "/stream"):
            headers = (await door.ask("GET", path)).headers
            assert headers["Content-Security-Policy"] == "default-src 'self'; frame-ancestors 'none'"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert (await door.ask("GET", "/framed")).headers["Content-Security-Policy"] == "frame-ancestors 'self'"


async def test_ids_of_requests_differ_and_are_bound_to_the_log():
    async def logged(request: web.Request) -> web.Response:
        return web.json_response(merge_contextvars(None, "info", {}))

    async with open_shop(route("GET", "/logged", logged, public=True)) as door:
        answers = [await door.ask("GET", "/logged") for _ in range(3)]
        ids = [answer.headers["X-Request-Id"] for answer in answers]
        assert len(set(ids)) == 3
        assert [answer.json()["request_id"] for answer in answers] == ids


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8787", "localhost.evil.example", ""])
async def test_a_host_that_is_not_answered_to_is_421_but_for_health(host):
    async with open_shop() as door:
        for path in ("/hello", "/open", "/nothing", "/api/v1/jobs"):
            request = (
                f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {READER}\r\nConnection: close\r\n\r\n"
            )
            answer = parsed(await door.send(request.encode()))
            assert (answer.status, answer.json()["code"]) == (421, "http.wrong_host")
        for path in ("/livez", "/readyz", "/healthz"):
            request = f"GET {path}?verbose=1 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            assert parsed(await door.send(request.encode())).json() == {"status": "ok"}


async def test_hosts_that_are_set_are_answered_to():
    async with open_shop(settings=HttpSettings(allowed_hosts=("shop.example",))) as door:
        assert (await door.ask("GET", "/open", headers={"Host": "shop.example:443"})).status == 200


async def test_a_request_of_http_1_0_without_a_host_is_refused_on_loopback():
    async with open_shop() as door:
        assert parsed(await door.send(b"GET /open HTTP/1.0\r\n\r\n")).status == 421
        assert parsed(await door.send(b"GET /livez HTTP/1.0\r\n\r\n")).status == 200


async def test_the_failure_of_an_authenticator_is_401_and_logged():
    async def broken(request: web.Request) -> Principal | None:
        raise RuntimeError("no such user store")

    async def wrong(request: web.Request):
        return {"id": "guest"}

    async def own_error(request: web.Request) -> Principal | None:
        raise web.HTTPTeapot

    for authenticate in (broken, wrong, own_error):
        async with open_shop(authenticators=[("sso", authenticate)]) as door:
            answer = await door.ask("GET", "/hello")
            assert (answer.status, answer.json()["code"]) == (401, "http.unauthorized")
            assert [fields["plugin"] for fields in door.log.events("http.authenticator_failed")] == ["sso"]
            assert (await door.ask("GET", "/hello", token=READER)).status == 200
            assert (await door.ask("GET", "/open")).status == 200


async def test_an_authenticators_principal_reaches_the_handler():
    async def by_cookie(request: web.Request) -> Principal | None:
        return Principal(request.cookies["user"], frozenset({"shop.read"})) if "user" in request.cookies else None

    async with open_shop(authenticators=[("sso", by_cookie)]) as door:
        assert (await door.ask("GET", "/hello", headers={"Cookie": "user=eve"})).json() == {"hello": "eve"}
        assert (await door.ask("GET", "/hello")).status == 401


async def test_requests_are_counted_by_the_pattern_of_their_route():
    registry = CollectorRegistry()
    async with open_shop(route("GET", "/orders/{order}", hello, public=True), registry=registry) as door:
        for path in ("/orders/1", "/orders/2", "/nothing", "/other", "/hello"):
            await door.ask("GET", path)
    text = exposition(registry).decode()
    assert 'nocohost_http_request_seconds_count{method="GET",route="/orders/{order}",status="200"} 2.0' in text
    assert 'nocohost_http_request_seconds_count{method="GET",route="unmatched",status="404"} 2.0' in text
    assert 'nocohost_http_request_seconds_count{method="GET",route="/hello",status="401"} 1.0' in text


async def test_the_access_log_is_off_until_asked_for_and_tells_no_query():
    async with open_shop() as door:
        await door.ask("GET", "/hello?secret=1", token=READER)
        assert door.log.events("http.request") == []
    async with open_shop(settings=HttpSettings(access_log=True)) as door:
        await door.ask("GET", "/hello?secret=1", token=READER)
        await door.ask("GET", "/nothing")
        first, second = door.log.events("http.request")
        assert first["path"] == "/hello"
        assert (first["method"], first["status"], first["principal"], first["remote"]) == (
            "GET", 200, "reader", "127.0.0.1"
        )  # fmt: skip
        assert "secret" not in str(door.log.lines)
        assert (second["route"], second["status"], second["principal"]) == ("unmatched", 404, None)


async def test_no_log_line_tells_a_secret_that_is_part_of_a_path():
    hook = route("POST", "/hooks/{secret}/now", raising(StoreUnavailableError("away")), public=True)
    broken = route("GET", "/broken/{secret}", raising(KeyError("bug")), public=True)
    async with open_shop(hook, broken, settings=HttpSettings(access_log=True)) as door:
        asked = [
            ("POST", "/hooks/s3cret/now"),
            ("GET", "/hooks/s3cret/now"),
            ("POST", "/hooks/s3cret"),
            ("GET", "/broken/s3cret"),
        ]
        statuses = [(await door.ask(method, path)).status for method, path in asked]
        assert statuses == [503, 405, 404, 500]
        assert [line["path"] for line in door.log.events("http.request")] == ["/hooks/***"] * 3 + ["/broken/***"]
        assert "s3cret" not in str(door.log.lines)


@pytest.mark.parametrize(
    "wrong",
    [
        Route("GET", "/x", hello),
        Route("GET", "/x", hello, permission="shop.read", public=True),
        Route("GET", "/x/{", hello, public=True),
        Route("GET", "/livez", hello, public=True),
    ],
)
async def test_a_route_that_cannot_be_served_is_refused_at_start(wrong):
    with pytest.raises(PluginContractError):
        async with open_door([wrong], app=fake_app()):
            pass


@pytest.mark.parametrize("fault", [SystemExit(7), KeyboardInterrupt()], ids=["exit", "interrupt"])
async def test_a_handler_that_exits_is_answered_500_and_the_node_goes_on(fault):
    exits = route("GET", "/exits", raising(fault), public=True)
    async with open_shop(exits) as door:
        answer = await door.ask("GET", "/exits")
        assert (answer.status, answer.json()["code"]) == (500, "http.internal")
        assert (await door.ask("GET", "/open")).status == 200
        assert door.log.events("http.failed")
