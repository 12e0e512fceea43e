"""Who a request comes from, how long that is believed, and what is kept of a token."""

import asyncio
from types import SimpleNamespace

import pytest
from aiohttp.test_utils import make_mocked_request
from probes.web_door import NoDatabase, Tokens

from nocohost.api.errors import StoreUnavailableError
from nocohost.api.principal import Principal
from nocohost.testing.clock import FakeClock
from nocohost.web.access import Access, refuse_cross_site
from nocohost.web.problems import RequestRefusedError

ADA = "nch_ada_secret"


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def tokens():
    return Tokens(ada=["shop.read"])


@pytest.fixture
def make_access(clock, tokens):
    def make_access(**options):
        app = SimpleNamespace(clock=clock, database=NoDatabase())
        return Access(app, **{"lookup": tokens.find, **options})

    return make_access


def asking(token=None, method="GET", **headers):
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return make_mocked_request(method, "/", headers={name.replace("_", "-"): value for name, value in headers.items()})


async def refusal(access, request, permission="shop.read"):
    with pytest.raises(RequestRefusedError) as caught:
        await access.require(request, permission)
    return caught.value


async def test_a_token_that_grants_the_permission_is_let_in_and_remembered(make_access, tokens):
    access = make_access()
    assert access.remembered(f"Bearer {ADA}", "shop.read") is None
    principal = await access.require(asking(ADA), "shop.read")
    assert principal == Principal("ada", frozenset({"shop.read"}))
    assert access.remembered(f"Bearer {ADA}", "shop.read") is principal
    assert access.remembered(f"Bearer {ADA}", "shop.order") is None
    assert access.remembered(None, "shop.read") is None
    assert tokens.asked == [ADA]


async def test_a_token_without_the_right_is_403_whether_remembered_or_not(make_access, tokens):
    access = make_access()
    for _ in range(2):
        refused = await refusal(access, asking(ADA), "shop.order")
        assert refused.status == 403
        assert "shop.order" in refused.message
        await access.require(asking(ADA), "shop.read")
    assert tokens.asked == [ADA]


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer nch_other_secret",
        "Bearer nch_",
        "Bearer " + "nch_" + "x" * 1000,
        "Bearer nch_ünïcode_x",
        "Basic YWRtaW46YWRtaW4=",
        "Bearer an admin token!",
        "nch_ada_secret",
        "Digest nch_ada_secret",
    ],
)
async def test_anything_else_is_401_with_a_challenge(make_access, authorization):
    access = make_access(admin_token="an admin token")
    refused = await refusal(access, asking(Authorization=authorization))
    assert refused.status == 401
    assert refused.code == "http.unauthorized"
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert refused.hint


async def test_bytes_that_are_no_text_are_no_token(make_access):
    request = SimpleNamespace(headers={"Authorization": "Bearer nch_\udcff"})
    assert make_access().remembered("Bearer nch_\udcff", "shop.read") is None
    assert (await refusal(make_access(), request)).status == 401


async def test_a_revoked_token_is_refused_within_five_seconds(make_access, tokens, clock):
    access = make_access()
    await access.require(asking(ADA), "shop.read")
    tokens.known.clear()
    clock.advance(3.9)
    assert access.remembered(f"Bearer {ADA}", "shop.read") is not None
    clock.advance(1.0)
    assert access.remembered(f"Bearer {ADA}", "shop.read") is None
    assert (await refusal(access, asking(ADA))).status == 401


async def test_the_five_seconds_count_from_before_the_database_was_asked(make_access, tokens, clock):
    async def slow(connection, text):
        found = await tokens.find(connection, text)
        clock.advance(4.5)
        return found

    access = make_access(lookup=slow)
    await access.require(asking(ADA), "shop.read")
    assert access.remembered(f"Bearer {ADA}", "shop.read") is None


async def test_a_token_that_is_unknown_is_asked_for_once_a_second(make_access, tokens, clock):
    access = make_access()
    for _ in range(5):
        await refusal(access, asking("nch_new_secret"))
    assert tokens.asked == ["nch_new_secret"]
    tokens.known["nch_new_secret"] = Principal("new", frozenset({"admin"}))
    clock.advance(1.1)
    assert (await access.require(asking("nch_new_secret"), "shop.read")).id == "new"


async def test_many_requests_with_one_token_ask_the_database_once(make_access, tokens):
    opened = asyncio.Event()

    async def waiting(connection, text):
        await opened.wait()
        return await tokens.find(connection, text)

    access = make_access(lookup=waiting)
    asked = [asyncio.create_task(access.require(asking(ADA), "shop.read")) for _ in range(20)]
    await asyncio.sleep(0)
    asked[0].cancel()  # the client of the first leaves; the others are answered all the same
    opened.set()
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert all(principal.id == "ada" for principal in found[1:])
    assert tokens.asked == [ADA]


async def test_a_database_that_is_away_is_told_and_asked_again(make_access, tokens):
    async def away(connection, text):
        raise StoreUnavailableError("away")

    access = make_access(lookup=away)
    with pytest.raises(StoreUnavailableError):
        await access.require(asking(ADA), "shop.read")
    access._lookup = tokens.find
    assert (await access.require(asking(ADA), "shop.read")).id == "ada"


async def test_the_admin_token_of_the_environment_needs_no_database(make_access, tokens):
    access = make_access(admin_token="nch_is_how_it_may_begin")
    principal = await access.require(asking("nch_is_how_it_may_begin"), "shop.order")
    assert principal == Principal("admin", frozenset({"admin"}))
    assert access.remembered("Bearer nch_is_how_it_may_begin", "shop.order") is principal
    assert tokens.asked == []


async def test_no_text_of_a_token_is_kept(make_access):
    access = make_access(admin_token="the secret of the environment")
    await access.require(asking(ADA), "shop.read")
    await access.require(asking("the secret of the environment"), "shop.read")
    await refusal(access, asking("nch_wrong_secret"))
    kept = repr({name: value for name, value in vars(access).items() if name != "_lookup"})
    assert "secret" not in kept
    assert all(isinstance(key, bytes) and len(key) == 32 for key in access._known)


async def test_what_is_remembered_is_bounded(make_access, monkeypatch):
    monkeypatch.setattr("nocohost.web.access.CACHED_TOKENS", 10)
    access = make_access()
    for number in range(50):
        await refusal(access, asking(f"nch_{number}_x"))
    assert len(access._known) == 10


def authenticator(answer, asked=None):
    async def authenticate(request):
        if asked is not None:
            asked.append(answer)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return authenticate


async def test_requests_without_a_nocohost_token_are_shown_to_plugins_in_order_until_one_answers(make_access):
    asked = []
    guest = Principal("guest", frozenset({"shop.read"}))
    authenticators = [
        ("a", authenticator(None, asked)),
        ("b", authenticator(guest, asked)),
        ("c", authenticator(guest)),
    ]
    access = make_access(authenticators=authenticators)
    assert await access.require(asking(), "shop.read") is guest
    assert await access.require(asking("of another kind"), "shop.read") is guest
    assert asked == [None, guest] * 2
    assert (await refusal(access, asking(), "shop.order")).status == 403


async def test_a_nocohost_token_decides_alone(make_access):
    guest = Principal("guest", frozenset({"admin"}))
    access = make_access(authenticators=[("a", authenticator(guest))])
    assert (await refusal(access, asking("nch_wrong_secret"))).status == 401
    assert (await access.require(asking(ADA), "shop.read")).id == "ada"


async def test_what_no_authenticator_answers_is_401(make_access):
    access = make_access(authenticators=[("a", authenticator(None))])
    assert (await refusal(access, asking())).status == 401


SAME = {"Host": "shop.example", "Origin": "https://shop.example"}


@pytest.mark.parametrize(
    ("method", "headers", "refused"),
    [
        ("GET", {"Sec-Fetch-Site": "cross-site"}, False),
        ("HEAD", {"Origin": "https://evil.example"}, False),
        ("POST", {}, False),
        ("POST", {"Sec-Fetch-Site": "same-origin"}, False),
        ("POST", {"Sec-Fetch-Site": "none"}, False),
        ("POST", {"Sec-Fetch-Site": "same-site"}, True),
        ("POST", {"Sec-Fetch-Site": "cross-site"}, True),
        ("DELETE", {**SAME, "Sec-Fetch-Site": "cross-site"}, True),
        ("POST", SAME, False),
        ("PUT", {"Host": "shop.example", "Origin": "https://evil.example"}, True),
        ("PATCH", {"Host": "shop.example", "Origin": "null"}, True),
        ("POST", {"Host": "shop.example", "Origin": "https://shop.example.evil.example"}, True),
    ],
)
def test_changes_that_a_page_of_another_site_sends_are_refused(method, headers, refused):
    request = make_mocked_request(method, "/", headers=headers)
    if not refused:
        refuse_cross_site(request)
        return
    with pytest.raises(RequestRefusedError) as caught:
        refuse_cross_site(request)
    assert (caught.value.status, caught.value.code) == (403, "http.cross_site")


async def test_a_plugins_principal_is_held_against_cross_site_changes(make_access):
    access = make_access(authenticators=[("a", authenticator(Principal("guest", frozenset({"admin"}))))])
    refused = await refusal(access, asking(method="POST", Sec_Fetch_Site="cross-site"))
    assert refused.code == "http.cross_site"
    assert (await access.require(asking(method="GET", Sec_Fetch_Site="cross-site"), "shop.read")).id == "guest"
