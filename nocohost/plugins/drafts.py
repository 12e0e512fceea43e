"""Reads the declarations entry points: what each plugin declares, and which of them contradict the contract or others.

A plugin that fails takes back everything it declared, which may rob another of the hook it implements; so the checks
between plugins are repeated until nothing changes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from nocohost.api.errors import PluginContractError, PluginError
from nocohost.api.resource import Resource
from nocohost.api.service import JobType
from nocohost.plugins import returns
from nocohost.plugins.catalogue import Catalogue
from nocohost.plugins.contract import (
    Implementation,
    Specification,
    check_implementations,
    core_specifications,
    require_hooks,
)
from nocohost.plugins.entry import DECLARATIONS, SERVICES, CatalogueEntry
from nocohost.plugins.loading import Loader

if TYPE_CHECKING:
    from pydantic import BaseModel

T = TypeVar("T")


@dataclass
class Draft:
    """What one declarations entry point declares, as far as it could be read."""

    entry: CatalogueEntry
    plugin: str
    module: object = None
    implementations: tuple[Implementation, ...] = ()
    standing: tuple[Implementation, ...] = ()
    """The implementations that passed every check."""
    model: "type[BaseModel] | None" = None
    job_types: tuple[JobType, ...] = ()
    resources: tuple[Resource, ...] = ()
    classes: tuple[type, ...] = ()
    hooks: tuple[Specification, ...] = ()
    error: PluginError | None = None


def read_drafts(catalogue: Catalogue, loader: Loader) -> tuple[Draft, ...]:
    """Load every declarations entry that metadata does not rule out; ``error`` says which of them do not stand."""
    core = core_specifications()
    drafts = tuple(
        _read(Draft(entry, entry.name), core, loader)
        for entry in catalogue.in_group(DECLARATIONS)
        if entry not in catalogue.verdicts
    )
    while _reject(drafts, core, catalogue, loader):
        pass
    return drafts


def _read(draft: Draft, core: Mapping[str, Specification], loader: Loader) -> Draft:
    try:
        # One thread for all steps: a hundred plugins would start a thousand, and every node waits for them.
        loader.call(lambda: _take_steps(draft, core, loader), draft.entry, doing=f"loading of {draft.entry.reference}")
    except PluginError as error:
        draft.error = error
    return draft


def _take_steps(draft: Draft, core: Mapping[str, Specification], loader: Loader) -> None:
    loaded = loader.examine(draft.entry)
    draft.module, draft.implementations = loaded.value, loaded.implementations
    own = [found for found in loaded.implementations if found.hook in core]
    draft.standing = _check(draft, own, core, loader)
    require_hooks(loaded.implementations)
    calls = {found.hook: found.function for found in own}
    if call := calls.get("register_settings"):
        draft.model = _call(draft, call, returns.settings_model, loader)
    if call := calls.get("register_hookspecs"):
        draft.classes, draft.hooks = _call(draft, call, lambda value: returns.published(value, draft.plugin), loader)
    if call := calls.get("register_jobs"):
        draft.job_types = _call(draft, call, returns.job_types, loader)
    if call := calls.get("register_resources"):
        draft.resources = _call(draft, call, lambda value: returns.resources(value, draft.plugin), loader)


def _call(draft: Draft, call: Callable[[], Any], check: Callable[[object], T], loader: Loader) -> T:
    return loader.call(lambda: check(call()), draft.entry, doing=getattr(call, "__name__", "hook"))


def _check(
    draft: Draft, implementations: Sequence[Implementation], known: Mapping[str, Specification], loader: Loader
) -> tuple[Implementation, ...]:
    return loader.call(
        lambda: check_implementations(draft.module, implementations, DECLARATIONS, known), draft.entry, doing="check"
    )


def _reject(drafts: Sequence[Draft], core: Mapping[str, Specification], catalogue: Catalogue, loader: Loader) -> bool:
    """Mark those that do not stand beside the others; tell whether there were any."""
    live = [draft for draft in drafts if draft.error is None]
    known = dict(core) | {hook.hook: hook for draft in live for hook in draft.hooks}
    errors: dict[str, PluginError] = {}
    for plugin, error in (
        *_shared_keys(live, catalogue),
        *_shared_hooks(live),
        *_shared_models(live),
        *_shared_resources(live),
    ):
        errors.setdefault(plugin, error)
    for draft in live:
        if all(found.hook in core for found in draft.implementations):
            continue  # checked already, and whatever others publish changes nothing
        try:
            draft.standing = _check(draft, draft.implementations, known, loader)
        except PluginError as error:
            errors.setdefault(draft.plugin, error)
    for draft in live:
        draft.error = errors.get(draft.plugin)
    return bool(errors)


def _shared_keys(drafts: Iterable[Draft], catalogue: Catalogue) -> Iterable[tuple[str, PluginError]]:
    """Find keys that two plugins describe. The one whose distribution offers the service is right; else neither is."""
    by_key: dict[str, list[Draft]] = {}
    for draft in drafts:
        for job_type in draft.job_types:
            by_key.setdefault(job_type.key, []).append(draft)
    for key, sharers in by_key.items():
        if len(sharers) > 1:
            offering = {entry.distribution for entry in catalogue.in_group(SERVICES) if entry.name == key}
            owners = [draft for draft in sharers if draft.entry.distribution in offering]
            for draft in sharers:
                if len(owners) != 1 or draft is not owners[0]:
                    yield draft.plugin, _shared(f"the jobs of {key} are declared", sharers)


def _shared_hooks(drafts: Iterable[Draft]) -> Iterable[tuple[str, PluginError]]:
    core = core_specifications()
    by_name: dict[str, list[Draft]] = {}
    for draft in drafts:
        for hook in draft.hooks:
            by_name.setdefault(hook.hook, []).append(draft)
            if hook.hook in core:
                yield draft.plugin, PluginContractError(f"{hook.hook} is a hook of nocohost and cannot be published")
    for name, sharers in by_name.items():
        if len(sharers) > 1:
            for draft in sharers:
                yield draft.plugin, _shared(f"the hook {name} is published", sharers)


def _shared_models(drafts: Iterable[Draft]) -> Iterable[tuple[str, PluginError]]:
    by_model: dict[type, list[Draft]] = {}
    for draft in drafts:
        if draft.model is not None:
            by_model.setdefault(draft.model, []).append(draft)
    for model, sharers in by_model.items():
        if len(sharers) > 1:
            for draft in sharers:
                yield draft.plugin, _shared(f"the settings {model.__name__} are declared", sharers)


def _shared_resources(drafts: Iterable[Draft]) -> Iterable[tuple[str, PluginError]]:
    """Find names that two plugins give, whose own names differ in ``-`` and ``_`` only."""
    by_name: dict[str, list[Draft]] = {}
    for draft in drafts:
        for resource in draft.resources:
            by_name.setdefault(resource.name, []).append(draft)
    for name, sharers in by_name.items():
        if len(sharers) > 1:
            for draft in sharers:
                yield draft.plugin, _shared(f"the resource {name} is declared", sharers)


def _shared(what: str, sharers: Sequence[Draft]) -> PluginContractError:
    owners = " and by ".join(f"{draft.plugin} ({draft.entry.owner})" for draft in sharers)
    return PluginContractError(f"{what} by {owners}", hint="this is for one plugin to declare")
