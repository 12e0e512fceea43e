"""The plugins of a starting node that fail late: by their schema, or as their lifespan begins."""

import asyncio
import contextlib
import sys
from contextlib import AsyncExitStack
from types import ModuleType

import pytest
from probes.fake_app import ListLog
from prometheus_client import CollectorRegistry

from nocohost import Service, hookimpl
from nocohost.api.errors import PluginLoadError, SchemaVersionError
from nocohost.api.mode import EVERYTHING
from nocohost.host.build import NodeParts, build_node
from nocohost.host.lifespans import HeldLifespan, enter_lifespans
from nocohost.host.plugins import activate_plugins
from nocohost.node.clock import SystemClock
from nocohost.node.settings import load_settings
from nocohost.plugins.catalogue import CatalogueEntry, catalogue_of

KEY = "two-words:work"


async def handle(job): ...


@hookimpl
def register_services():
    return [Service(KEY, handle)]


@pytest.fixture
def parts_with(tmp_path, monkeypatch):
    """Return what builds the parts of a node with one plugin, whose service module holds the given functions."""

    def build(*functions) -> NodeParts:
        service, declarations = ModuleType("two_words_work"), ModuleType("two_words_declarations")
        vars(service).update({function.__name__: function for function in functions})
        vars(declarations)["register_jobs"] = hookimpl(_register_jobs)
        entries = []
        for group, name, module in (("services", KEY, service), ("declarations", "two-words", declarations)):
            monkeypatch.setitem(sys.modules, module.__name__, module)
            entries.append(CatalogueEntry(f"nocohost.{group}", name, "two-words", "1.0", module.__name__))
        settings = load_settings({"NOCOHOST_DATA_DIR": str(tmp_path)}).settings
        return build_node(settings, catalogue_of(entries), EVERYTHING, clock=SystemClock(), log=ListLog())

    return build


def _register_jobs():
    return []


@pytest.mark.parametrize("spelling", ["two-words", "two_words"])
async def test_a_plugin_whose_schema_does_not_fit_is_dropped_however_its_migrations_spell_it(parts_with, spelling):
    parts = parts_with(register_services)
    activation = await activate_plugins(
        parts, {spelling: SchemaVersionError("the schema is too new")}, CollectorRegistry()
    )
    assert not activation.served_keys
    assert "the schema is too new" in activation.refused_keys[KEY]
    await parts.database.close()


@pytest.mark.parametrize("fault", [SystemExit(3), KeyboardInterrupt("own"), RuntimeError("no luck")])
async def test_whatever_a_lifespan_raises_as_it_begins_its_entry_point_alone_is_dropped(parts_with, fault):
    @hookimpl
    @contextlib.asynccontextmanager
    async def node_lifespan():
        raise fault
        yield

    parts = parts_with(register_services, node_lifespan)
    activation = await activate_plugins(parts, {}, CollectorRegistry())
    assert activation.served_keys == {KEY}
    async with AsyncExitStack() as stack:
        activation = await enter_lifespans(parts, activation, stack)
    assert not activation.served_keys
    assert type(fault).__name__ in activation.refused_keys[KEY]
    await parts.database.close()


@pytest.mark.parametrize("fault", [SystemExit(3), KeyboardInterrupt("own"), RuntimeError("no luck")])
async def test_what_a_lifespan_raises_as_it_ends_is_logged_and_no_more(parts_with, fault):
    @hookimpl
    @contextlib.asynccontextmanager
    async def node_lifespan():
        yield
        raise fault

    parts = parts_with(register_services, node_lifespan)
    async with AsyncExitStack() as stack:
        await enter_lifespans(parts, await activate_plugins(parts, {}, CollectorRegistry()), stack)
    assert parts.log.events("lifespan.failed")
    await parts.database.close()


async def swallow_cancellation(until: asyncio.Event) -> None:
    while not until.is_set():
        with contextlib.suppress(asyncio.CancelledError):
            await until.wait()


class LifespanEntry:
    name = "a:b"

    def __str__(self) -> str:
        return "nocohost.services a:b (a 1.0)"


def held(function, log):
    return HeldLifespan(LifespanEntry(), contextlib.asynccontextmanager(function)(), log)


async def test_a_lifespan_that_does_not_begin_is_left_behind_even_when_it_swallows_its_cancellation(monkeypatch):
    monkeypatch.setattr("nocohost.host.lifespans.LEAVE_SECONDS", 0.05)
    end = asyncio.Event()

    async def lifespan():
        await swallow_cancellation(end)
        yield

    with pytest.raises(PluginLoadError, match=r"node_lifespan of .* did not begin within 0.05 s"):
        await held(lifespan, ListLog()).enter(0.05)
    end.set()


async def test_a_lifespan_that_does_not_begin_is_told_as_such_when_it_heeds_its_cancellation():
    log = ListLog()

    async def lifespan():
        await asyncio.Event().wait()
        yield

    with pytest.raises(PluginLoadError, match=r"node_lifespan of .* did not begin within 0.05 s"):
        await held(lifespan, log).enter(0.05)
    assert not log.events("lifespan.failed")


async def test_a_lifespan_that_does_not_end_is_left_behind_even_when_it_swallows_its_cancellation():
    end, log = asyncio.Event(), ListLog()

    async def lifespan():
        yield
        await swallow_cancellation(end)

    one = held(lifespan, log)
    await one.enter()
    await one.leave(0.05)
    assert log.events("lifespan.abandoned")
    end.set()


async def test_a_lifespan_that_cancels_itself_is_a_failure_of_its_own():
    async def lifespan():
        raise asyncio.CancelledError
        yield

    with pytest.raises(PluginLoadError, match="node_lifespan raised CancelledError"):
        await held(lifespan, ListLog()).enter()


async def test_a_start_that_is_broken_off_cancels_the_lifespan_that_it_waits_for():
    begun, cancelled = asyncio.Event(), []

    async def lifespan():
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        yield

    entering = asyncio.create_task(held(lifespan, ListLog()).enter())
    await begun.wait()
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert cancelled


async def test_a_start_that_is_broken_off_just_as_a_lifespan_has_begun_leaves_it():
    left, log = asyncio.Event(), ListLog()

    async def lifespan():
        entering.cancel()  # the waiting task hears of it together with what follows
        yield
        left.set()

    entering = asyncio.create_task(held(lifespan, log).enter())
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert left.is_set()
    assert not log.events("lifespan.failed")


async def test_a_lifespan_is_left_by_the_task_that_entered_it():
    tasks = []

    async def lifespan():
        tasks.append(asyncio.current_task())
        async with asyncio.timeout(60):  # breaks when another task leaves it
            yield
        tasks.append(asyncio.current_task())

    log = ListLog()
    one = held(lifespan, log)
    await one.enter()
    await asyncio.create_task(one.leave())
    assert tasks[0] is tasks[1]
    assert not log.events("lifespan.failed")
