"""Checks hook implementations against the hooks they implement, before anything of a plugin is registered.

pluggy alone lets much through in silence: an ``async def`` would put a coroutine among the results, a misspelt hook
would never be called, a default would hide a misspelt argument.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from pluggy import PluginManager

from nocohost.api import hookspecs
from nocohost.api.errors import PluginContractError, PluginDisabledError
from nocohost.api.keys import nearest
from nocohost.api.service import Isolation
from nocohost.plugins.entry import DECLARATIONS, EXTENSIONS, REQUESTS, SERVICES

CORE_HOOKS = (
    (hookspecs.DeclarationHooks, (DECLARATIONS,)),
    (hookspecs.ServiceHooks, (SERVICES,)),
    (hookspecs.RequestHooks, (REQUESTS,)),
    (hookspecs.LifecycleHooks, (SERVICES, REQUESTS)),
)
"""The classes of nocohost's own hooks, and the entry-point groups whose modules may implement them."""
HOOK_GROUPS = (DECLARATIONS, SERVICES, EXTENSIONS, REQUESTS)
"""Groups whose modules hold hook implementations; hooks that plugins publish may be implemented in all of them."""
MISSPELT_LETTERS = 2
"""So many letters may differ between a misspelt hook and the one that was meant; more is another hook."""


@dataclass(frozen=True, slots=True)
class Specification:
    """One hook: its name, its arguments, where it may be implemented, and who publishes it."""

    hook: str
    arguments: tuple[str, ...]
    groups: tuple[str, ...]
    publisher: str = "nocohost"


@dataclass(frozen=True, slots=True)
class Implementation:
    """One function of a plugin that implements a hook, as found, not checked."""

    hook: str
    function: Callable[..., Any]
    options: Mapping[str, Any]

    @property
    def is_optional(self) -> bool:
        """Tell whether the plugin asked to leave it out when nobody publishes the hook."""
        return bool(self.options.get("optionalhook"))


def core_specifications() -> dict[str, Specification]:
    """Return nocohost's own hooks by name, in life-cycle order."""
    return {
        specification.hook: specification
        for specs, groups in CORE_HOOKS
        for specification in specifications_of(specs, publisher="nocohost", groups=groups)
    }


def specifications_of(
    specs: type, *, publisher: str, groups: tuple[str, ...] = HOOK_GROUPS
) -> tuple[Specification, ...]:
    """Return the hooks that a class of hook specifications publishes.

    Raises ``PluginContractError`` for a class without any, an ``async def``, an argument that is not a plain name, and
    pluggy's ``firstresult`` and ``historic``, which the host does not offer.
    """
    manager = PluginManager("nocohost")
    found = []
    for name in dict.fromkeys((*vars(specs), *dir(specs))):  # as written, then what is inherited
        options = manager.parse_hookspec_opts(specs, name)
        if options is None:
            continue
        function = getattr(specs, name)
        where = f"the hook {specs.__name__}.{name}"
        if options.get("firstresult") or options.get("historic"):
            raise PluginContractError(f"{where} asks for firstresult or historic, which nocohost does not offer")
        if inspect.iscoroutinefunction(function):
            raise PluginContractError(f"{where} is async def", hint="a hook is a plain function that returns data")
        skip = 0 if isinstance(inspect.getattr_static(specs, name), staticmethod) else 1
        found.append(Specification(name, _plain_arguments(function, where)[skip:], groups, publisher))
    if not found:
        raise PluginContractError(f"{specs.__name__} holds no hook", hint="mark its methods with @hookspec")
    return tuple(found)


def implementations_in(plugin: object) -> tuple[Implementation, ...]:
    """Return the functions of ``plugin`` that are marked with ``@hookimpl``, in the order of their names."""
    manager = PluginManager("nocohost")
    found = []
    for name in dir(plugin):
        options = manager.parse_hookimpl_opts(plugin, name)
        if options is not None:
            function = getattr(plugin, name)
            found.append(Implementation(options.get("specname") or name, function, dict(options)))
    return tuple(found)


def check_implementations(
    plugin: object, implementations: Sequence[Implementation], group: str, known: Mapping[str, Specification]
) -> tuple[Implementation, ...]:
    """Return those of ``implementations`` that stand; ``known`` are the host's and the published hooks by name.

    Raises ``PluginContractError`` for the first that breaks the contract, and ``PluginDisabledError`` when one
    implements a hook that no installed plugin publishes; an optional implementation of such a hook is left out.
    """
    _check_unmarked(plugin, implementations, group, known)
    standing: list[Implementation] = []
    unpublished: list[str] = []
    for implementation in implementations:
        specification = known.get(implementation.hook)
        if specification is None:
            if meant := misspelt(implementation.hook, known):
                raise PluginContractError(f"there is no hook {implementation.hook}", hint=f"did you mean {meant}?")
            if not implementation.is_optional:
                unpublished.append(implementation.hook)
        elif group not in specification.groups:
            raise PluginContractError(
                f"{implementation.hook} belongs into {' or '.join(specification.groups)}, not into {group}"
            )
        else:
            check_signature(implementation, specification)
            if any(other.hook == implementation.hook for other in standing):
                raise PluginContractError(f"{implementation.hook} is implemented twice")
            standing.append(implementation)
    if unpublished:
        raise PluginDisabledError(f"no installed plugin publishes the hook {', '.join(unpublished)}")
    return tuple(standing)


def require_hooks(implementations: Sequence[Implementation]) -> None:
    """Raise ``PluginContractError`` when an entry point implements no hook at all: it would do nothing, silently."""
    if not implementations:
        raise PluginContractError("it implements no hook", hint="mark the functions that do with @hookimpl")


def check_signature(implementation: Implementation, specification: Specification) -> None:
    """Raise ``PluginContractError`` unless ``implementation`` can be called as ``specification`` says."""
    function, hook = implementation.function, implementation.hook
    if any(implementation.options.get(option) for option in ("wrapper", "hookwrapper")):
        raise PluginContractError(f"{hook} is a wrapper; nocohost calls each implementation by itself")
    if inspect.iscoroutinefunction(function):
        raise PluginContractError(f"{hook} is async def", hint="a hook is a plain function that returns data")
    if inspect.isasyncgenfunction(function):
        raise PluginContractError(f"{hook} is an async generator", hint="add @contextlib.asynccontextmanager to it")
    if inspect.isgeneratorfunction(function):
        raise PluginContractError(f"{hook} is a generator", hint="return a list instead of yielding")
    for argument in _plain_arguments(function, hook):
        if argument not in specification.arguments:
            offered = ", ".join(specification.arguments) or "none"
            suggestion = nearest(argument, specification.arguments)
            raise PluginContractError(
                f"{hook} takes {argument!r}, which the hook does not offer; its arguments: {offered}",
                hint=f"did you mean {suggestion!r}?" if suggestion else "",
            )


def misspelt(hook: str, known: Iterable[str]) -> str:
    """Return the known hook that ``hook`` is a misspelling of, or "" when it is some other hook.

    Names of hooks resemble each other (``register_step_forms``, ``register_task_forms``), so likeness alone says
    nothing: at most ``MISSPELT_LETTERS`` may differ, in a short name fewer, or the underscores.
    """
    for name in sorted(known):
        letters = min(MISSPELT_LETTERS, len(name) // 5)
        if hook.replace("_", "") == name.replace("_", "") or _changed_letters(hook, name) <= letters:
            return name
    return ""


def check_handler(handler: Callable[..., Any], isolation: Isolation) -> None:
    """Check the handler of a service: ``handler(job)`` or ``handler(job, app)``, of the kind that its isolation takes.

    Raises ``PluginContractError`` when it takes anything else, and for a plain function where an ``async def`` is
    awaited or the other way round.
    """
    name = getattr(handler, "__qualname__", type(handler).__name__)
    if not callable(handler):
        raise PluginContractError(f"the handler is a {name}, which cannot be called")
    if isolation == "loop" and not is_async(handler):
        raise PluginContractError(
            f"the handler {name} is no async def", hint='a plain def needs isolation="thread" or "process"'
        )
    if isolation == "thread" and is_async(handler):
        raise PluginContractError(
            f'the handler {name} is an async def, but isolation="thread" takes a plain def',
            hint='write def instead, or take isolation="loop" or "process"',
        )
    if inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler):
        raise PluginContractError(f"the handler {name} is a generator", hint="return instead of yielding")
    arguments = _plain_arguments(handler, f"the handler {name}")
    if arguments not in (("job",), ("job", "app")):
        raise PluginContractError(
            f"the handler {name} takes ({', '.join(arguments)})", hint="a handler takes (job) or (job, app)"
        )


def is_async(function: object) -> bool:
    """Tell whether ``function`` is an ``async def``, a partial of one, or an object whose ``__call__`` is one."""
    call = inspect.getattr_static(type(function), "__call__", None)
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def _check_unmarked(
    plugin: object, implementations: Sequence[Implementation], group: str, known: Mapping[str, Specification]
) -> None:
    """Refuse a function that is named like a hook of its group but lacks the marker: it would never be called."""
    marked = {implementation.hook for implementation in implementations}
    for hook, specification in known.items():
        function = inspect.getattr_static(plugin, hook, None)
        own = getattr(plugin, "__name__", "")
        if hook in marked or group not in specification.groups or not inspect.isfunction(function):
            continue
        if function.__module__ == own:
            raise PluginContractError(f"the function {hook} is named like a hook but not marked", hint="add @hookimpl")


def _plain_arguments(function: Callable[..., Any], where: str) -> tuple[str, ...]:
    """Return the names of the arguments; raise for defaults, ``*``, ``/`` and what has no signature."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError) as error:
        raise PluginContractError(f"{where}: its arguments cannot be read: {error}") from error
    for parameter in parameters:
        if parameter.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD:
            raise PluginContractError(f"{where} takes {parameter} in a way other than by name", hint="no *, ** or /")
        if parameter.default is not inspect.Parameter.empty:
            raise PluginContractError(f"{where} has a default: {parameter}", hint="take the argument, or leave it out")
    return tuple(parameter.name for parameter in parameters)


def _changed_letters(one: str, other: str) -> int:
    changes = SequenceMatcher(None, one, other, autojunk=False).get_opcodes()
    return sum(max(i2 - i1, j2 - j1) for tag, i1, i2, j1, j2 in changes if tag != "equal")
