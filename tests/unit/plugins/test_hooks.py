"""Published hooks: who is called, in which order, and what a failing one costs."""

from types import SimpleNamespace
from typing import Any

import pytest
from probes.fake_app import ListLog

from nocohost import hookimpl, hookspec
from nocohost.api.errors import PluginContractError
from nocohost.plugins.contract import implementations_in, specifications_of
from nocohost.plugins.entry import CatalogueEntry
from nocohost.plugins.hooks import NodeHooks


class Greetings:
    @hookspec
    def greet(self, name, language): ...

    @hookspec
    def register_checks_of_mine(self): ...


def entry(name: str) -> CatalogueEntry:
    return CatalogueEntry("nocohost.extensions", f"a:a/{name}", name, "1.0", name)


def hooks(log: ListLog | None = None) -> NodeHooks:
    return NodeHooks([Greetings], specifications_of(Greetings, publisher="acme"), log or ListLog())


def register(node_hooks: NodeHooks, name: str, function: Any) -> None:
    node_hooks.register(entry(name), name, implementations_in(SimpleNamespace(greet=function)))


def saying(text: str, **options: Any) -> Any:
    def greet(name):
        return f"{text} {name}"

    return hookimpl(**options)(greet)


def test_a_call_gives_plugins_and_results_in_order_of_registration() -> None:
    node_hooks = hooks()
    register(node_hooks, "one", saying("hello"))
    register(node_hooks, "two", saying("salve"))
    register(node_hooks, "last", saying("bye", trylast=True))
    register(node_hooks, "first", saying("oyez", tryfirst=True))
    assert node_hooks.call("greet", name="Ada", language="en") == [
        ("first", "oyez Ada"),
        ("one", "hello Ada"),
        ("two", "salve Ada"),
        ("last", "bye Ada"),
    ]


def test_nobody_implements_it_is_an_empty_list() -> None:
    assert hooks().call("greet", name="Ada", language="en") == []


def test_none_is_a_result() -> None:
    node_hooks = hooks()

    @hookimpl
    def greet(): ...

    register(node_hooks, "shy", greet)
    assert node_hooks.call("greet", name="Ada", language="en") == [("shy", None)]


def test_one_that_raises_takes_no_other_with_it() -> None:
    log = ListLog()
    node_hooks = hooks(log)

    @hookimpl
    def greet(language):
        raise ValueError(language)

    register(node_hooks, "grumpy", greet)
    register(node_hooks, "polite", saying("hello"))
    assert node_hooks.call("greet", name="Ada", language="en") == [("polite", "hello Ada")]
    (line,) = log.events("hook.failed")
    assert line == {"hook": "greet", "plugin": "grumpy", "entry": "nocohost.extensions a:a/grumpy (grumpy 1.0)"}


def test_a_function_that_two_entry_points_share_is_called_once() -> None:
    node_hooks = hooks()
    shared = saying("hello")
    register(node_hooks, "one", shared)
    register(node_hooks, "two", shared)
    assert node_hooks.call("greet", name="Ada", language="en") == [("one", "hello Ada")]
    node_hooks.unregister(entry("one"))
    assert node_hooks.call("greet", name="Ada", language="en") == [("two", "hello Ada")]
    node_hooks.unregister(entry("two"))
    assert node_hooks.call("greet", name="Ada", language="en") == []


def test_taking_back_what_was_never_there_is_fine() -> None:
    hooks().unregister(entry("nobody"))


def test_an_unpublished_name_and_the_hosts_own_hooks_cannot_be_called() -> None:
    with pytest.raises(PluginContractError, match=r"publishes the hook gret \(did you mean greet\?\)"):
        hooks().call("gret", name="x")
    with pytest.raises(PluginContractError, match="publishes the hook register_services"):
        hooks().call("register_services", app=None)


@pytest.mark.parametrize("arguments", [{}, {"name": "x"}, {"name": "x", "language": "en", "more": 1}])
def test_a_call_gives_exactly_the_arguments_of_the_hook(arguments: dict[str, Any]) -> None:
    with pytest.raises(PluginContractError, match=r"its arguments are \(name, language\)"):
        hooks().call("greet", **arguments)


def test_what_pluggy_refuses_leaves_nothing_behind() -> None:
    node_hooks = hooks()

    @hookimpl
    def greet(name): ...

    @hookimpl
    def register_checks_of_mine(unknown): ...

    both = SimpleNamespace(greet=greet, register_checks_of_mine=register_checks_of_mine)
    with pytest.raises(PluginContractError, match="unknown"):
        node_hooks.register(entry("half"), "half", implementations_in(both))
    assert node_hooks.implementations("greet") == ()
    register(node_hooks, "half", greet)
    assert len(node_hooks.implementations("greet")) == 1


def test_each_call_is_told_with_its_time_and_whether_it_failed() -> None:
    def failing():
        raise RuntimeError

    node_hooks, told = hooks(), []
    node_hooks.observe = lambda hook, plugin, seconds, failed: told.append((hook, plugin, seconds >= 0, failed))
    register(node_hooks, "one", saying("hello"))
    register(node_hooks, "two", hookimpl(specname="greet")(failing))
    node_hooks.call("greet", name="Ada", language="en")
    assert told == [("greet", "one", True, False), ("greet", "two", True, True)]
