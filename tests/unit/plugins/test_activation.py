"""What a node activates, in which order, and how it parts with what fails; with plugins made of functions."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from nocohost import Check, JobType, Schedule, Service, hookimpl, hookspec, route
from nocohost.api.errors import PluginContractError, PluginLoadError
from nocohost.api.mode import CHILD, EVERYTHING, WorkerMode
from nocohost.plugins.entry import State

REQUESTS_ONLY = WorkerMode(serves_all=False)


async def handle(job): ...


async def answer(request): ...


async def healthy(): ...


def offering(key: str, **options: Any) -> Any:
    @hookimpl
    def register_services(app):
        return [Service(key, handle, **options)]

    return register_services


def serving(*paths: str) -> Any:
    @hookimpl
    def serve_requests(app):
        return [route("GET", path, answer, public=True) for path in paths]

    return serve_requests


def checking(*names: str) -> Any:
    @hookimpl
    def register_checks(app):
        return [Check(name, healthy, critical=False) for name in names]

    return register_checks


class Publishing:
    @hookspec
    def greet(self, name): ...


@hookimpl
def register_hookspecs():
    return [Publishing]


@hookimpl
def greet(name):
    return f"hello {name}"


def states(activation: Any) -> dict[str, State]:
    return {state.entry.name: state.state for state in activation.entries}


def test_an_activation_holds_what_its_entries_offer(make_guest, stage) -> None:
    activation = stage(
        make_guest("services", "shop:invoice", offering("shop:invoice", concurrency=4), checking("queue")),
        make_guest("requests", "shop", serving("/shop"), checking("api")),
    ).activate()
    assert activation.served_keys == {"shop:invoice"}
    assert activation.services["shop:invoice"].concurrency == 4
    assert [(plugin, one.path) for plugin, one in activation.routes] == [("shop", "/shop")]
    assert [check.name for check in activation.checks] == ["acme.queue", "shop.api"]
    assert not any(check.critical for check in activation.checks)
    assert set(states(activation).values()) == {State.ACTIVE}
    assert activation.quarantined == []


def test_a_child_activates_nothing_but_declarations(make_guest, stage) -> None:
    activation = stage(
        make_guest("declarations", "shop", register_hookspecs),
        make_guest("services", "shop:invoice", offering("shop:invoice")),
        make_guest("requests", "shop", serving("/shop")),
    ).activate(CHILD)
    assert [state.state for state in activation.entries] == [State.ACTIVE, State.INSTALLED, State.INSTALLED]
    assert activation.served_keys == frozenset()


def test_an_extension_follows_its_service(make_guest, stage) -> None:
    entries = [
        make_guest("declarations", "shop", register_hookspecs),
        make_guest("services", "shop:invoice", offering("shop:invoice")),
        make_guest("services", "shop:refund", offering("shop:refund")),
        make_guest("extensions", "shop:invoice/x", greet, distribution="x"),
        make_guest("extensions", "shop:refund/y", greet, distribution="y"),
    ]
    mode = WorkerMode(serves_requests=False, serves_all=False, keys=frozenset({"shop:refund"}))
    activation = stage(*entries).activate(mode)
    assert activation.hooks.call("greet", name="Ada") == [("y", "hello Ada")]
    assert states(activation)["shop:invoice/x"] is State.INSTALLED


def test_hooks_work_while_a_service_registers_but_the_queue_does_not(make_guest, stage) -> None:
    seen: list[Any] = []

    @hookimpl
    def register_services(app):
        seen.extend([app.hooks.call("greet", name="Ada"), app.serving("a:b"), app.mode, app.node.name])
        return [Service("a:b", handle)]

    declarations = make_guest("declarations", "shop", register_hookspecs, greet)
    stage(declarations, make_guest("services", "a:b", register_services)).activate()
    assert seen == [[("shop", "hello Ada")], True, EVERYTHING, "test"]


def test_a_refused_key_has_its_reason_and_one_that_is_not_covered_is_not_refused(make_guest, stage) -> None:
    staged = stage(
        make_guest("services", "a:b", offering("a:c")),
        make_guest("services", "a:d", offering("a:d")),
        make_guest("services", "twin:one", offering("twin:one"), distribution="one"),
        make_guest("services", "twin:one", offering("twin:one"), distribution="two"),
    )
    activation = staged.activate(WorkerMode(serves_requests=False))
    assert set(activation.refused_keys) == {"a:b", "twin:one"}
    assert "one 1.0 and by two 1.0" in activation.refused_keys["twin:one"]
    assert staged.activate(REQUESTS_ONLY).refused_keys == {}


def test_plugins_that_claim_one_route_are_all_out_and_their_checks_too(make_guest, stage) -> None:
    activation = stage(
        make_guest("requests", "a", serving("/x/{one}"), checking("a"), distribution="a"),
        make_guest("requests", "b", serving("/x/{two}", "/b"), distribution="b"),
        make_guest("requests", "c", serving("/b/c"), distribution="c"),
    ).activate()
    assert states(activation) == {"a": State.QUARANTINED, "b": State.QUARANTINED, "c": State.ACTIVE}
    assert [plugin for plugin, _ in activation.routes] == ["c"]
    assert activation.checks == []
    assert [found.plugin for found in activation.hooks.implementations("serve_requests")] == ["c"]


async def test_authenticators_are_bound_and_keep_pluggys_order(make_guest, stage) -> None:
    @hookimpl
    def authenticate_request(app, request):
        async def principal():
            return (app.node.name, request)

        return principal()

    async def nobody():
        return None

    @hookimpl(tryfirst=True)
    def early(request):
        return nobody()

    early.nocohost_impl["specname"] = "authenticate_request"
    activation = stage(
        make_guest("requests", "a", authenticate_request, distribution="a"),
        make_guest("requests", "b", early, distribution="b"),
    ).activate()
    (first, none), (second, someone) = activation.authenticators
    assert (first, second) == ("b", "a")
    assert await none("request") is None
    assert await someone("request") == ("test", "request")


async def test_a_lifespan_is_called_when_it_is_entered_and_not_before(make_guest, stage) -> None:
    seen: list[str] = []

    @hookimpl
    @contextlib.asynccontextmanager
    async def node_lifespan(app):
        seen.append("in")
        yield
        seen.append("out")

    guest = make_guest("services", "a:b", offering("a:b"), node_lifespan)
    ((entry, lifespan),) = stage(guest).activate().lifespans
    assert entry is guest
    assert seen == []
    async with lifespan:
        assert seen == ["in"]
    assert seen == ["in", "out"]


async def test_a_lifespan_that_is_no_context_manager_breaks_the_contract(make_guest, stage) -> None:
    @hookimpl
    def node_lifespan(app):
        return "nothing to hold"

    ((_, lifespan),) = stage(make_guest("requests", "a", serving("/a"), node_lifespan)).activate().lifespans
    with pytest.raises(PluginContractError, match="node_lifespan returned a str"):
        await lifespan.__aenter__()


def test_an_entry_can_be_quarantined_later_with_all_it_brought(make_guest, stage) -> None:
    service = make_guest("services", "a:b", offering("a:b"), checking("mine"))
    activation = stage(
        make_guest("declarations", "shop", register_hookspecs),
        service,
        make_guest("services", "a:c", offering("a:c")),
        make_guest("extensions", "a:b/x", greet, distribution="x"),
        make_guest("extensions", "a:c/y", greet, distribution="y"),
    ).activate()
    later = activation.quarantine(service, PluginLoadError("node_lifespan: no luck"))
    assert activation.served_keys == {"a:b", "a:c"}
    assert later.served_keys == {"a:c"}
    assert later.checks == []
    assert dict(later.refused_keys) == {"a:b": "node_lifespan: no luck"}
    assert later.hooks.call("greet", name="Ada") == [("y", "hello Ada")]
    assert states(later)["a:b/x"] is State.QUARANTINED
    assert states(later)["a:c/y"] is State.ACTIVE
    again = later.quarantine(service, PluginLoadError("again"))
    assert dict(again.refused_keys) == {"a:b": "node_lifespan: no luck"}


def test_every_entry_that_is_out_is_logged_once(make_guest, stage) -> None:
    staged = stage(
        make_guest("declarations", "bad"),
        make_guest("services", "a:b", offering("a:c"), distribution="other"),
        make_guest("extensions", "x:y/z", greet, distribution="third"),
    )
    staged.activate()
    lines = [(level, event, fields["entry"].split(" (")[0]) for level, event, fields in staged.log.lines]
    assert lines == [
        ("error", "plugin.quarantined", "nocohost.declarations bad"),
        ("error", "plugin.quarantined", "nocohost.services a:b"),
        ("warning", "plugin.disabled", "nocohost.extensions x:y/z"),
    ]


def test_as_json_is_what_the_contract_says(make_guest, stage) -> None:
    (state,) = stage(make_guest("services", "a:b", offering("a:b"))).activate().entries
    shown = state.as_json()
    assert shown.pop("import_seconds") >= 0
    assert shown == {
        "group": "nocohost.services",
        "name": "a:b",
        "distribution": "acme",
        "version": "1.0",
        "module": "acme_services_a_b",
        "state": "active",
        "imported": True,
        "reason": None,
    }


@pytest.fixture(autouse=True)
def no_stray_threads() -> Iterator[None]:
    """Activation leaves no thread behind when nothing hangs."""
    import threading

    before = threading.active_count()
    yield
    assert threading.active_count() <= before  # threads of earlier tests may have ended meanwhile


def scheduling(key: str, *schedules: Schedule) -> Any:
    @hookimpl
    def register_services(app):
        return [Service(key, handle), *schedules]

    return register_services


class Order(BaseModel):
    order: int


@hookimpl
def register_jobs():
    return [JobType("shop:invoice", payload=Order)]


def test_schedules_stand_beside_their_service_and_may_be_for_other_declared_keys(make_guest, stage) -> None:
    nightly = Schedule("nightly", "shop:refund", {}, cron="@daily")
    hourly = Schedule("hourly", "shop:invoice", {"order": 1}, interval_seconds=3600)
    activation = stage(
        make_guest("declarations", "shop", register_jobs),
        make_guest("services", "shop:invoice", scheduling("shop:invoice", nightly, hourly)),
        make_guest("services", "shop:refund", offering("shop:refund")),
    ).activate(WorkerMode(serves_requests=False, serves_all=False, keys=frozenset({"shop:invoice"})))
    assert {entry.name: list(schedules) for entry, schedules in activation.schedules} == {
        "shop:invoice": [nightly, hourly]
    }
    assert activation.served_keys == {"shop:invoice"}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"cron": "* * * * * *"}, "schedule 'x': cron is .* 6 fields"),
        ({"cron": "0 25 * * *"}, "schedule 'x': .* wrong: hour"),
        ({"cron": "@daily", "timezone": "Mars/Base"}, "no time zone 'Mars/Base'"),
        ({"cron": "@daily", "key": "shop:invoise"}, "schedule 'x': No installed plugin declares"),
        ({"cron": "@daily", "payload": {"order": "many"}}, "schedule 'x': its payload does not fit .* order"),
        ({"cron": "@daily", "payload": {"order": {1}}}, "schedule 'x': its payload is not JSON"),
        ({"cron": "@daily", "payload": {"order": float("nan")}}, "schedule 'x': its payload is not JSON"),
    ],
)
def test_a_schedule_that_cannot_be_quarantines_its_service(make_guest, stage, options: Any, reason: str) -> None:
    made = {"name": "x", "key": "shop:invoice", "payload": {"order": 1}} | options
    activation = stage(
        make_guest("declarations", "shop", register_jobs),
        make_guest("services", "shop:invoice", scheduling("shop:invoice", Schedule(**made))),
        make_guest("services", "shop:refund", offering("shop:refund")),
    ).activate()
    (state,) = activation.quarantined
    assert state.entry.name == "shop:invoice"
    assert re.search(reason, state.reason)
    assert activation.served_keys == {"shop:refund"}


def test_two_schedules_of_one_name_quarantine_their_service(make_guest, stage) -> None:
    twice = Schedule("x", "shop:invoice", {}, interval_seconds=60)
    activation = stage(make_guest("services", "shop:invoice", scheduling("shop:invoice", twice, twice))).activate()
    assert "names the schedule 'x' twice" in activation.quarantined[0].reason
    assert activation.schedules == []
