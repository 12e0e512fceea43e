"""The hooks of one node: nocohost's own and those that plugins publish, and who implements them here.

pluggy holds specifications and implementations; the host calls each implementation by itself, so that one that fails
takes no other with it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any, cast

from pluggy import HookimplOpts, PluginManager, PluginValidationError

from nocohost.api.errors import PluginContractError
from nocohost.api.keys import nearest
from nocohost.api.log import Log
from nocohost.plugins.contract import CORE_HOOKS, Implementation, Specification, core_specifications
from nocohost.plugins.entry import CatalogueEntry
from nocohost.plugins.fence import call_published

Observe = Callable[[str, str, float, bool], None]
"""``observe(hook, plugin, seconds, failed)`` is told of one call."""


@dataclass(frozen=True, slots=True)
class Registered:
    """One implementation that is live on this node."""

    entry: CatalogueEntry
    plugin: str
    function: Callable[..., Any]
    arguments: tuple[str, ...]

    def bind(self, /, **offered: Any) -> Callable[[], Any]:
        """Return the call of this implementation with those of the offered arguments that it takes."""
        return partial(self.function, **{name: offered[name] for name in self.arguments})


def _unobserved(hook: str, plugin: str, seconds: float, failed: bool) -> None:
    pass


class _Guest:
    """The implementations of one entry point, as the one object that pluggy knows it by."""

    def __init__(self, entry: CatalogueEntry, plugin: str, implementations: Iterable[Implementation]) -> None:
        self._entry = entry
        self._plugin = plugin
        self._options = {implementation.hook: implementation.options for implementation in implementations}
        vars(self).update({implementation.hook: implementation.function for implementation in implementations})


class _GuestManager(PluginManager):
    """A plugin manager that takes the markers as the contract checks have read them."""

    def parse_hookimpl_opts(self, plugin: object, name: str) -> HookimplOpts | None:
        assert isinstance(plugin, _Guest)
        return cast("HookimplOpts | None", plugin._options.get(name))


class NodeHooks:
    """Implements ``api.app.Hooks`` for one node. Only activation registers; plugins see ``call`` alone."""

    def __init__(self, classes: Iterable[type], published: Iterable[Specification], log: Log) -> None:
        self._manager = _GuestManager("nocohost")
        self._log = log
        self.observe: Observe = _unobserved
        """Told of each call of a published hook; the host sets it before anything calls."""
        self._published = {specification.hook: specification for specification in published}
        for specs in (*(core for core, _ in CORE_HOOKS), *classes):
            self._manager.add_hookspecs(specs)

    @property
    def known(self) -> dict[str, Specification]:
        """Return nocohost's own and the published hooks, by name."""
        return core_specifications() | self._published

    def register(self, entry: CatalogueEntry, plugin: str, implementations: Sequence[Implementation]) -> None:
        """Make checked implementations live. Raises ``PluginContractError`` and leaves nothing when pluggy refuses."""
        guest = _Guest(entry, plugin, implementations)
        try:
            self._manager.register(guest, name=str(entry))
            self._manager.check_pending()
        except (PluginValidationError, ValueError) as error:
            self.unregister(entry)  # some versions of pluggy keep the good half of a refused plugin
            raise PluginContractError(" ".join(str(error).split())) from error

    def unregister(self, entry: CatalogueEntry) -> None:
        """Take back every implementation of ``entry``; nothing happens when there is none."""
        self._manager.unregister(name=str(entry))

    def implementations(self, hook: str) -> Sequence[Registered]:
        """Return who implements ``hook`` here: first those marked tryfirst, last those marked trylast.

        Otherwise in the order in which they were registered.
        """
        caller = getattr(self._manager.hook, hook)
        return tuple(
            Registered(impl.plugin._entry, impl.plugin._plugin, impl.function, impl.argnames)
            for impl in sorted(caller.get_hookimpls(), key=lambda impl: impl.trylast - impl.tryfirst)
        )

    def implementation(self, hook: str, entry: CatalogueEntry) -> Registered | None:
        """Return the implementation of ``hook`` by one entry point, or None."""
        return next((found for found in self.implementations(hook) if found.entry == entry), None)

    def call(self, name: str, /, **arguments: Any) -> Sequence[tuple[str, Any]]:
        """Call every active implementation of the published hook ``name``; return (plugin, result) pairs.

        An implementation that raises is logged and left out; a function that two entry points share is called once.
        Raises ``PluginContractError`` for a name that no plugin publishes, and for arguments other than the hook's own.
        """
        specification = self._published.get(name)
        if specification is None:
            suggestion = nearest(name, self._published)
            raise PluginContractError(
                f"no installed plugin publishes the hook {name}",
                hint=f"did you mean {suggestion}?" if suggestion else "",
            )
        if set(arguments) != set(specification.arguments):
            raise PluginContractError(
                f"the hook {name} is called with ({', '.join(arguments)})",
                hint=f"its arguments are ({', '.join(specification.arguments)})",
            )
        distinct: dict[Callable[..., Any], Registered] = {}
        for registered in self.implementations(name):
            distinct.setdefault(registered.function, registered)
        return [
            (registered.plugin, result)
            for registered in distinct.values()
            for result in self._call_one(name, registered, arguments)
        ]

    def _call_one(self, name: str, registered: Registered, arguments: Mapping[str, Any]) -> list[Any]:
        """Return the result of one implementation in a list, empty when it raised."""
        plugin, started = registered.plugin, perf_counter()
        call = registered.bind(**arguments)
        results = call_published(call, self._log, hook=name, plugin=plugin, entry=str(registered.entry))
        self.observe(name, plugin, perf_counter() - started, not results)
        return results
