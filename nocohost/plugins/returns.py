"""Checks what hooks return. A wrong value is told to its author where it was made, not where it would break later."""

import inspect
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar, cast

from pydantic import BaseModel

from nocohost.api.check import Check
from nocohost.api.errors import PluginContractError
from nocohost.api.resource import Resource
from nocohost.api.routes import Route, api_route, route
from nocohost.api.schedule import Schedule
from nocohost.api.service import JobType, Service
from nocohost.node.plugin_name import plugin_slug
from nocohost.plugins.contract import Specification, check_handler, is_async, specifications_of
from nocohost.plugins.paths import claim_of

ItemT = TypeVar("ItemT")
OWN_DISTRIBUTION = "nocohost"
"""What the host itself is installed as, with the services that come with it."""


def settings_model(value: object) -> type[BaseModel]:
    """Return what ``register_settings`` gave, if it is a pydantic model."""
    if not (isinstance(value, type) and issubclass(value, BaseModel)):
        raise PluginContractError(f"register_settings returned {_kind(value)}, not a pydantic model class")
    return value


def job_types(value: object) -> tuple[JobType, ...]:
    """Return what ``register_jobs`` gave, if it is a list of job types whose payloads are pydantic models."""
    types = _list_of(JobType, value, "register_jobs")
    for job_type in types:
        payload = job_type.payload
        if payload is not None and not (isinstance(payload, type) and issubclass(payload, BaseModel)):
            raise PluginContractError(f"the payload of job type {job_type.key} is {_kind(payload)}, no pydantic model")
    _unique([job_type.key for job_type in types], "register_jobs declares {} twice")
    return types


def resources(value: object, plugin: str) -> tuple[Resource, ...]:
    """Return what ``register_resources`` gave, if it is a list of resources, each with a name of its own."""
    found = _list_of(Resource, value, "register_resources")
    for resource in found:
        if plugin_slug(resource.name.partition(".")[0]) != plugin_slug(plugin):
            raise PluginContractError(
                f"register_resources of {plugin} declares {resource.name}", hint=f"name it {plugin}.noun"
            )
    _unique([resource.name for resource in found], "register_resources declares {} twice")
    return found


def published(value: object, publisher: str) -> tuple[tuple[type, ...], tuple[Specification, ...]]:
    """Return what ``register_hookspecs`` gave: the classes, and the hooks they publish."""
    classes = _list_of(type, value, "register_hookspecs")
    hooks = tuple(hook for specs in classes for hook in specifications_of(specs, publisher=publisher))
    _unique([hook.hook for hook in hooks], "register_hookspecs publishes {} twice")
    return classes, hooks


def offer(value: object, key: str) -> tuple[Service, tuple[Schedule, ...]]:
    """Return what ``register_services`` gave: the one service, and the schedules beside it.

    The service must stand under ``key`` with a handler that fits, the schedules have names of their own.
    """
    items = _list_of((Service, Schedule), value, "register_services")
    services = [item for item in items if isinstance(item, Service)]
    if len(services) != 1:
        raise PluginContractError(
            f"register_services returned {len(services)} services", hint="an entry point offers exactly one"
        )
    offered = services[0]
    if offered.key != key:
        raise PluginContractError(
            f"register_services offers {offered.key}, but the entry point is named {key}", hint="the two must agree"
        )
    check_handler(offered.handler, offered.isolation)
    schedules = tuple(item for item in items if isinstance(item, Schedule))
    _unique([one.name for one in schedules], "register_services names the schedule {!r} twice")
    return offered, schedules


def routes(value: object, distribution: str) -> tuple[Route, ...]:
    """Return what ``serve_requests`` gave, if every route says who may call it and its path and handler fit.

    Routes under ``/api/v1`` are for what comes with the host, by the distribution of the entry point.
    """
    found = _list_of(Route, value, "serve_requests")
    for item in found:
        # A Route can be made without ``route()``, past its checks.
        if item.api is None:
            route(item.method, item.path, item.handler, permission=item.permission, public=item.public)
        elif distribution != OWN_DISTRIBUTION:
            raise PluginContractError(
                f"route {item.method} {item.path}: /api belongs to the host",
                hint="take route() and a path outside /api",
            )
        else:
            api_route(item.method, item.path, item.handler, permission=item.permission, api=item.api)
        if not is_async(item.handler):
            raise PluginContractError(f"the handler of route {item.method} {item.path} is no async def")
        claim_of(item)
    return found


def checks(value: object) -> tuple[Check, ...]:
    """Return what ``register_checks`` gave, if it is a list of checks with names of their own."""
    found = _list_of(Check, value, "register_checks")
    for check in found:
        if not (isinstance(check.name, str) and check.name and callable(check.probe)):
            raise PluginContractError(f"the check {check.name!r} needs a name and an async callable")
    _unique([check.name for check in found], "register_checks names {} twice")
    return found


def lifespan(value: object) -> AbstractAsyncContextManager[None]:
    """Return what ``node_lifespan`` gave, if it can be entered with ``async with``."""
    if not isinstance(value, AbstractAsyncContextManager):
        raise PluginContractError(
            f"node_lifespan returned {_kind(value)}, not an async context manager",
            hint="write an async generator under @contextlib.asynccontextmanager",
        )
    return cast("AbstractAsyncContextManager[None]", value)


def _list_of(item_class: type[ItemT] | tuple[type[ItemT], ...], value: object, hook: str) -> tuple[ItemT, ...]:
    if inspect.iscoroutine(value):
        value.close()  # it will never be awaited, and should not warn of that in some other place
    if not isinstance(value, list | tuple):
        raise PluginContractError(f"{hook} returned {_kind(value)}, not a list of {_named(item_class)}")
    for place, item in enumerate(value, start=1):
        if not isinstance(item, item_class):
            raise PluginContractError(f"item {place} of {hook} is {_kind(item)}, not a {_named(item_class)}")
    return tuple(cast("Sequence[Any]", value))


def _named(item_class: type | tuple[type, ...]) -> str:
    return " or ".join(one.__name__ for one in (item_class if isinstance(item_class, tuple) else (item_class,)))


def _unique(names: Sequence[str], message: str) -> None:
    for place, name in enumerate(names):
        if name in names[:place]:
            raise PluginContractError(message.format(name))


def _kind(value: object) -> str:
    """Name a value by its class, never by its own words: that would run a guest's code."""
    if value is None:
        return "None"
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
