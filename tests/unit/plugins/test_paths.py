"""Which two paths are one to the router, and which are none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocohost import Route, route
from nocohost.api.errors import PluginContractError
from nocohost.plugins.paths import claim_of, clashes


async def answer(request): ...


def get(path: str) -> Route:
    return route("GET", path, answer, public=True)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/a", "/a"),
        ("/a/{x}", "/a/{y}"),
        ("/a/{x:[^{}/]+}", "/a/{y}"),
        (r"/a/{x:\d{1,9}}/b", r"/a/{other_name:\d{1,9}}/b"),
        ("/a%20b", "/a b"),
        ("/{a}-{b}", "/{c}-{d}"),
    ],
)
def test_paths_that_the_router_cannot_tell_apart_are_one(one: str, other: str) -> None:
    assert claim_of(get(one)) == claim_of(get(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (get("/a"), get("/a/")),
        (get("/a/{x}"), get("/a/b")),
        (get(r"/a/{x:\d+}"), get("/a/{x}")),
        (get("/a"), route("POST", "/a", answer, public=True)),
        (get("/A"), get("/a")),
    ],
)
def test_paths_that_the_router_tells_apart_are_two(one: Route, other: Route) -> None:
    assert claim_of(one) != claim_of(other)


@pytest.mark.parametrize(
    "path", ["/a/{", "/a/}", "/a/{}", "/a/{1x}", "/a/{x-y}", "/a/{x}/{x}", "/a/{x:[}", "/a/{x:}", "/a/{x{y}}", "/{é}"]
)
def test_a_path_the_router_would_not_take_is_refused(path: str) -> None:
    with pytest.raises(PluginContractError, match="route GET"):
        claim_of(get(path))


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz", "/%6civez"])
def test_the_hosts_own_paths_are_refused(path: str) -> None:
    with pytest.raises(PluginContractError, match="belongs to the host"):
        claim_of(get(path))


NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True)
PARTS = st.lists(st.sampled_from(["a", "b", "{}", r"{:\d+}"]), min_size=1, max_size=5)


@given(PARTS, st.data())
def test_the_names_of_variables_never_matter(parts: list[str], data: st.DataObject) -> None:
    def path() -> str:
        names = iter(data.draw(st.lists(NAMES, min_size=len(parts), max_size=len(parts), unique=True)))
        return "".join(f"/{part.replace('{', '{' + next(names), 1)}" if "{" in part else f"/{part}" for part in parts)

    assert claim_of(get(path())) == claim_of(get(path()))


def test_everybody_who_claims_a_route_is_named_and_nobody_wins() -> None:
    errors = clashes(
        {"one": [get("/a/{x}"), get("/free")], "two": [get("/a/{y}")], "three": [get("/b")], "four": [get("/a/{z}")]}
    )
    assert set(errors) == {"one", "two", "four"}
    assert "route GET /a/{x} is also claimed by two (/a/{y})" in str(errors["one"])
    assert "also claimed by one" in str(errors["two"])


def test_a_plugin_may_clash_with_itself() -> None:
    same = get("/a")
    errors = clashes({"one": [same, same, get("/b")], "two": [get("/b/c")]})
    assert set(errors) == {"one"}
    assert "the same plugin" in str(errors["one"])
