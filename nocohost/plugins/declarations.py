"""What every node must know of the plugins: job types, resources, settings, published hooks. Data, no behaviour.

Declarations are loaded on every node and in every child, whatever the worker mode, so that a payload is checked on the
node that receives it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from nocohost.api.errors import PluginContractError
from nocohost.api.keys import nearest
from nocohost.api.log import Log
from nocohost.api.resource import Resource
from nocohost.api.service import JobType
from nocohost.plugins.catalogue import Catalogue
from nocohost.plugins.contract import Specification
from nocohost.plugins.drafts import Draft, read_drafts
from nocohost.plugins.entry import DECLARATIONS, CatalogueEntry, EntryState, State, Verdict
from nocohost.plugins.fence import trace_of
from nocohost.plugins.hooks import NodeHooks
from nocohost.plugins.loading import Loader, is_imported
from nocohost.plugins.plugin_settings import read_settings, unknown_plugins
from nocohost.plugins.verdicts import spread

if TYPE_CHECKING:
    from pydantic import BaseModel

ModelT = TypeVar("ModelT", bound="BaseModel")


@dataclass(frozen=True)
class Declarations:
    """The declarations of every installed plugin that could be read; a value, made by ``load_declarations``."""

    job_types: Mapping[str, JobType]
    """By service key. A key without one takes any JSON object; a job type alone declares no key."""
    resources: Mapping[str, Resource]
    """By name, sorted."""
    verdicts: Mapping[CatalogueEntry, Verdict]
    """Every entry point that cannot be active on any node: by metadata, or because its declarations failed."""
    states: tuple[EntryState, ...]
    """What became of each entry of ``nocohost.declarations``."""
    setting_faults: tuple[str, ...]
    """What is wrong with the settings of plugins, one line each; the node must not start with any (exit 2)."""
    notices: tuple[str, ...]
    """What is probably a mistake: metadata nobody can read, settings nobody declares, a key that looks misspelt."""
    loader: Loader = field(repr=False)
    """Imports entry points, and remembers those that never ended."""
    _drafts: tuple[Draft, ...] = field(repr=False)
    _settings: "Mapping[type[BaseModel], BaseModel | None]" = field(repr=False)
    """By declared model; None where what was given does not fit."""

    @property
    def failures(self) -> Mapping[CatalogueEntry, Verdict]:
        """Return the declarations that are quarantined or disabled."""
        return {entry: verdict for entry, verdict in self.verdicts.items() if entry.group == DECLARATIONS}

    @property
    def published(self) -> tuple[Specification, ...]:
        """Return the hooks that plugins publish."""
        return tuple(hook for draft in self._drafts for hook in draft.hooks)

    def job_type(self, key: str) -> JobType | None:
        """Return the job type of ``key``, or None when no plugin describes its jobs."""
        return self.job_types.get(key)

    def settings(self, model: type[ModelT]) -> ModelT:
        """Return the frozen instance of a declared settings model.

        Raises ``PluginContractError`` for a model that nobody declares, and for one whose settings are wrong.
        """
        name = f"{model.__module__}.{model.__qualname__}"
        if model not in self._settings:
            raise PluginContractError(
                f"no installed plugin declares the settings {name}", hint="return the class from register_settings"
            )
        instance = self._settings[model]
        if instance is None:
            raise PluginContractError(f"the settings {name} are wrong", hint="; ".join(self.setting_faults))
        return cast("ModelT", instance)

    def node_hooks(self, log: Log) -> NodeHooks:
        """Return new hooks for one node: everything published, implemented so far by the declarations alone."""
        hooks = NodeHooks([specs for draft in self._drafts for specs in draft.classes], self.published, log)
        for draft in self._drafts:
            hooks.register(draft.entry, draft.plugin, draft.standing)
        return hooks


def load_declarations(
    catalogue: Catalogue,
    *,
    import_seconds: float,
    plugin_settings: Mapping[str, Mapping[str, Any]],
    log: Log,
    plugin_files: Mapping[str, str] = MappingProxyType({}),
) -> Declarations:
    """Load the declarations of every installed plugin, each within ``import_seconds``.

    A plugin that fails is quarantined with everything it has and logged; the others go on. ``plugin_settings`` holds
    the raw strings of ``NOCOHOST_PLUGINS__<PLUGIN>__<FIELD>`` by plugin and field, and ``plugin_files`` tells which of
    them a file gave; whatever is wrong with them is collected in ``setting_faults``, since it is the operator's to mend
    and not the plugin's.
    """
    loader = Loader(catalogue, import_seconds)
    drafts = read_drafts(catalogue, loader)
    live = tuple(draft for draft in drafts if draft.error is None)
    failed = {draft.entry: Verdict.of(draft.error) for draft in drafts if draft.error is not None}
    settings, faults, notices = _read_all_settings(
        live, plugin_settings, plugin_files, [entry.name for entry in failed]
    )
    notices = (*catalogue.notices, *notices, *_misspelt_keys(live, catalogue))
    for notice in notices:
        log.warning("declarations.notice", notice=notice)
    verdicts = spread({**catalogue.verdicts, **failed}, catalogue.entries)
    states = _states(catalogue, verdicts, drafts, loader)
    log_failures(states, log)
    return Declarations(
        job_types=MappingProxyType({job_type.key: job_type for draft in live for job_type in draft.job_types}),
        resources=_resources(live),
        verdicts=MappingProxyType(verdicts),
        states=states,
        setting_faults=faults,
        notices=notices,
        loader=loader,
        _drafts=live,
        _settings=MappingProxyType(settings),
    )


def _resources(drafts: Iterable[Draft]) -> Mapping[str, Resource]:
    by_name = {resource.name: resource for draft in drafts for resource in draft.resources}
    return MappingProxyType(dict(sorted(by_name.items())))


def log_failures(states: Iterable[EntryState], log: Log) -> None:
    """Log each entry point that is not active though it should be, with its reason."""
    for state in states:
        if state.state is State.QUARANTINED:
            log.error("plugin.quarantined", entry=str(state.entry), reason=state.reason)
        elif state.state is State.DISABLED:
            log.warning("plugin.disabled", entry=str(state.entry), reason=state.reason)


def _states(
    catalogue: Catalogue, verdicts: Mapping[CatalogueEntry, Verdict], drafts: Sequence[Draft], loader: Loader
) -> tuple[EntryState, ...]:
    by_entry = {draft.entry: draft for draft in drafts}
    states = []
    for entry in catalogue.in_group(DECLARATIONS):
        draft, verdict = by_entry.get(entry), verdicts.get(entry)
        states.append(
            EntryState(
                entry=entry,
                plugin=entry.name,
                state=State.ACTIVE if verdict is None else verdict.state,
                imported=is_imported(entry),
                reason="" if verdict is None else verdict.reason,
                code="" if verdict is None else verdict.error.code,
                import_seconds=loader.import_seconds(entry),
                trace="" if draft is None or draft.error is None else trace_of(draft.error),
                hooks=() if draft is None or verdict else tuple(one.hook for one in draft.standing),
            )
        )
    return tuple(states)


def _read_all_settings(
    drafts: Sequence[Draft],
    raw: Mapping[str, Mapping[str, Any]],
    files: Mapping[str, str],
    failed: Sequence[str],
) -> "tuple[dict[type[BaseModel], BaseModel | None], tuple[str, ...], tuple[str, ...]]":
    models = {draft.plugin: draft.model for draft in drafts if draft.model is not None}
    settings: dict[type[BaseModel], BaseModel | None] = {}
    faults: tuple[str, ...] = ()
    notices = unknown_plugins(raw, [*models, *failed], files)
    for plugin, model in models.items():
        instance, wrong, unknown = read_settings(plugin, model, raw, files)
        faults += wrong
        notices += unknown
        settings[model] = instance
    return settings, faults, notices


def _misspelt_keys(drafts: Sequence[Draft], catalogue: Catalogue) -> tuple[str, ...]:
    """Return a notice for each job type whose key nobody here offers but which looks like one that somebody does."""
    known = catalogue.declared_keys
    notices = []
    for draft in drafts:
        for job_type in draft.job_types:
            meant = "" if job_type.key in known else nearest(job_type.key, known)
            if meant:
                notices.append(
                    f"{draft.entry} declares jobs of {job_type.key}, which no installed plugin offers; "
                    f"did it mean {meant}?"
                )
    return tuple(notices)
