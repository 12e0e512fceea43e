"""Which hook implementations, published hooks and handlers fit, and which are refused."""

import contextlib
import functools
from types import ModuleType
from typing import Any

import pytest

from nocohost import Job, hookimpl, hookspec
from nocohost.api.errors import PluginContractError, PluginDisabledError
from nocohost.plugins.contract import (
    HOOK_GROUPS,
    Specification,
    check_handler,
    check_implementations,
    core_specifications,
    implementations_in,
    misspelt,
    specifications_of,
)
from nocohost.plugins.entry import DECLARATIONS, EXTENSIONS, REQUESTS, SERVICES

CORE = core_specifications()


def module(**functions: Any) -> ModuleType:
    made = ModuleType("guest")
    for name, function in functions.items():
        setattr(made, name, function)
    return made


def check(group: str, known: dict[str, Specification] = CORE, **functions: Any) -> list[str]:
    plugin = module(**functions)
    return [found.hook for found in check_implementations(plugin, implementations_in(plugin), group, known)]


def test_the_hooks_of_the_host_and_where_they_belong() -> None:
    assert {hook: (known.arguments, known.groups) for hook, known in CORE.items()} == {
        "register_settings": ((), (DECLARATIONS,)),
        "register_jobs": ((), (DECLARATIONS,)),
        "register_resources": ((), (DECLARATIONS,)),
        "register_hookspecs": ((), (DECLARATIONS,)),
        "register_services": (("app",), (SERVICES,)),
        "serve_requests": (("app",), (REQUESTS,)),
        "authenticate_request": (("app", "request"), (REQUESTS,)),
        "register_checks": (("app",), (SERVICES, REQUESTS)),
        "node_lifespan": (("app",), (SERVICES, REQUESTS)),
    }


def test_an_implementation_may_take_fewer_arguments_in_any_order() -> None:
    @hookimpl
    def authenticate_request(request, app): ...

    assert check(REQUESTS, authenticate_request=authenticate_request) == ["authenticate_request"]

    @hookimpl
    def authenticate_request(request): ...

    assert check(REQUESTS, authenticate_request=authenticate_request) == ["authenticate_request"]


def test_a_context_manager_is_a_plain_function_whichever_decorator_comes_first() -> None:
    @hookimpl
    @contextlib.asynccontextmanager
    async def node_lifespan(app):
        yield

    @contextlib.asynccontextmanager
    @hookimpl
    async def other(app):
        yield

    assert check(SERVICES, node_lifespan=node_lifespan) == ["node_lifespan"]
    assert check(SERVICES, node_lifespan=other) == ["node_lifespan"]


def test_a_specname_implements_the_hook_it_names() -> None:
    @hookimpl(specname="register_checks")
    def health(app): ...

    assert check(REQUESTS, health=health) == ["register_checks"]


def test_one_hook_is_implemented_once() -> None:
    @hookimpl(specname="register_checks")
    def health(app): ...

    @hookimpl
    def register_checks(app): ...

    with pytest.raises(PluginContractError, match="register_checks is implemented twice"):
        check(REQUESTS, health=health, register_checks=register_checks)


def test_a_class_or_an_instance_may_hold_the_hooks() -> None:
    class Surface:
        @staticmethod
        @hookimpl
        def register_checks(app): ...

        @hookimpl
        @classmethod
        def node_lifespan(cls, app): ...

    class Bound:
        @hookimpl
        def register_checks(self, app): ...

    assert [found.hook for found in implementations_in(Surface)] == ["node_lifespan", "register_checks"]
    for plugin in (Surface, Bound()):
        assert check_implementations(plugin, implementations_in(plugin), SERVICES, CORE)
    with pytest.raises(PluginContractError, match="takes 'self'"):
        check_implementations(Bound, implementations_in(Bound), SERVICES, CORE)


def test_an_unknown_hook_is_disabled_unless_it_is_optional() -> None:
    @hookimpl
    def paint_the_fence(): ...

    @hookimpl(optionalhook=True)
    def paint_the_gate(): ...

    with pytest.raises(PluginDisabledError, match="publishes the hook paint_the_fence"):
        check(EXTENSIONS, paint_the_fence=paint_the_fence, paint_the_gate=paint_the_gate)
    assert check(EXTENSIONS, paint_the_gate=paint_the_gate) == []


def test_what_is_at_fault_comes_before_what_is_missing() -> None:
    @hookimpl
    def paint_the_fence(): ...

    @hookimpl
    def register_checks(app, more): ...

    with pytest.raises(PluginContractError, match="takes 'more'"):
        check(SERVICES, paint_the_fence=paint_the_fence, register_checks=register_checks)


def test_a_function_named_like_a_hook_is_refused_without_its_marker_but_an_imported_one_is_not() -> None:
    def register_checks(app): ...

    register_checks.__module__ = "guest"
    with pytest.raises(PluginContractError, match="not marked"):
        check(SERVICES, register_checks=register_checks)
    register_checks.__module__ = "elsewhere"
    assert check(SERVICES, register_checks=register_checks) == []
    register_checks.__module__ = "guest"
    assert check(DECLARATIONS, register_checks=register_checks) == []


@pytest.mark.parametrize(
    ("hook", "meant"),
    [
        ("register_service", "register_services"),
        ("register_servcies", "register_services"),
        ("registerservices", "register_services"),
        ("regsiter_jobs", "register_jobs"),
        ("serve_request", "serve_requests"),
        ("authenticate_requests", "authenticate_request"),
        ("node_lifspan", "node_lifespan"),
        ("register_step_forms", ""),
        ("register_forms", ""),
        ("register_routes", ""),
        ("serve", ""),
        ("x", ""),
    ],
)
def test_a_misspelling_is_a_letter_or_two_not_a_likeness(hook: str, meant: str) -> None:
    assert misspelt(hook, CORE) == meant


def test_hooks_of_one_family_are_not_taken_for_each_other() -> None:
    assert misspelt("register_task_forms", [*CORE, "register_step_forms"]) == ""
    assert misspelt("on_b", ["on_a"]) == ""


def test_published_hooks_are_read_from_a_class() -> None:
    class Hooks:
        @hookspec
        def greet(self, name, language): ...

        @staticmethod
        @hookspec
        def count(start): ...

        def no_hook(self): ...

    class More(Hooks):
        @hookspec
        def part(self): ...

    assert [found.hook for found in specifications_of(More, publisher="acme")] == ["part", "count", "greet"]
    greet, count = specifications_of(Hooks, publisher="acme")
    assert greet == Specification("greet", ("name", "language"), HOOK_GROUPS, "acme")
    assert count.arguments == ("start",)


@pytest.mark.parametrize(
    ("marker", "function", "fault"),
    [
        (hookspec(firstresult=True), lambda self: None, "firstresult"),
        (hookspec(historic=True), lambda self: None, "historic"),
        (hookspec, lambda self, *names: None, r"takes \*names"),
        (hookspec, lambda self, name="x": None, "has a default"),
    ],
)
def test_a_published_hook_that_cannot_be_kept_is_refused(marker: Any, function: Any, fault: str) -> None:
    specs = type("Specs", (), {"odd": marker(function)})
    with pytest.raises(PluginContractError, match=fault):
        specifications_of(specs, publisher="acme")


async def plain(job: Job) -> None: ...
async def with_app(job: Job, app: Any) -> None: ...
def blocking(job: Any) -> None: ...
def blocking_with_app(job: Any, app: Any) -> None: ...


class Handler:
    async def __call__(self, job: Job) -> None: ...

    async def method(self, job: Job, app: Any) -> None: ...


class BlockingHandler:
    def __call__(self, job: Any) -> None: ...


@pytest.mark.parametrize("isolation", ["loop", "process"])
@pytest.mark.parametrize("handler", [plain, with_app, Handler(), Handler().method])
def test_an_async_handler_fits_the_loop_and_a_child(handler: Any, isolation: Any) -> None:
    check_handler(handler, isolation)
    with pytest.raises(PluginContractError, match=r"is an async def, but isolation=.thread. takes a plain def"):
        check_handler(handler, "thread")


@pytest.mark.parametrize("isolation", ["thread", "process"])
@pytest.mark.parametrize("handler", [blocking, blocking_with_app, BlockingHandler()])
def test_a_plain_handler_fits_a_thread_and_a_child(handler: Any, isolation: Any) -> None:
    check_handler(handler, isolation)
    with pytest.raises(PluginContractError, match="no async def"):
        check_handler(handler, "loop")


async def renamed(task: Job) -> None: ...
async def swapped(app: Any, job: Job) -> None: ...
async def optional(job: Job, app: Any = None) -> None: ...
async def nothing() -> None: ...
async def generator(job: Job) -> Any:
    yield


def yielding(job: Job) -> Any:
    yield


@pytest.mark.parametrize("isolation", ["loop", "thread", "process"])
@pytest.mark.parametrize(
    "handler", [renamed, swapped, optional, nothing, generator, yielding, print, "handler", Handler]
)
def test_any_other_handler_is_refused(handler: Any, isolation: Any) -> None:
    with pytest.raises(PluginContractError, match="the handler"):
        check_handler(handler, isolation)


def test_a_partial_that_fixes_what_is_left_over_is_a_handler() -> None:
    async def with_more(factor: int, job: Job) -> None: ...

    check_handler(functools.partial(with_more, 3), "loop")
