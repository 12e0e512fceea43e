"""What metadata alone tells about entry points that cannot be active.

Nothing is imported. Of two that claim the same name neither wins: which one would otherwise depend on an alphabet or on
the order of ``sys.path``, and somebody's jobs or requests would go to the wrong code without a word.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from nocohost.api.errors import DuplicateServiceError, PluginContractError, PluginDisabledError, PluginError
from nocohost.api.keys import is_key, nearest
from nocohost.node.plugin_name import plugin_slug
from nocohost.plugins.entry import (
    COMMANDS,
    DECLARATIONS,
    EXTENSIONS,
    NAMED_BY_PLUGIN,
    SERVICES,
    CatalogueEntry,
    State,
    Verdict,
)
from nocohost.plugins.metadata import Findings
from nocohost.plugins.ownership import declarations_of
from nocohost.plugins.requirements import missing_for_extra

PLUGIN_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
"""Plugin and command names: they become environment names, table prefixes and words on a command line."""
EXTENSION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

Verdicts = Mapping[CatalogueEntry, Verdict]


def judge(findings: Findings, path: Sequence[str] | None = None) -> dict[CatalogueEntry, Verdict]:
    """Return the verdict on every entry point that metadata alone rules out; the first fault found is the reason."""
    faults: dict[CatalogueEntry, PluginError] = {}
    rules: tuple[Callable[[], Iterable[tuple[CatalogueEntry, PluginError]]], ...] = (
        lambda: _malformed(findings.entries),
        lambda: _repeated(findings.entries),
        lambda: _shared_plugin_names(findings.entries),
        lambda: _missing_extras(findings, path),
        lambda: _without_service(findings.entries),
    )
    for rule in rules:
        for entry, error in rule():
            faults.setdefault(entry, error)
    return spread({entry: Verdict.of(error) for entry, error in faults.items()}, findings.entries)


def spread(verdicts: Verdicts, entries: Sequence[CatalogueEntry]) -> dict[CatalogueEntry, Verdict]:
    """Return ``verdicts`` and what follows from them.

    Declarations take everything that they govern with them, a service its extensions; whoever has a verdict keeps it.
    """
    result = dict(verdicts)
    for entry in entries:
        governing = declarations_of(entry, entries) if entry.group != DECLARATIONS else None
        if governing in result:
            result.setdefault(entry, _follow(result[governing], f"its declarations {governing} are"))
    services = {entry.key: entry for entry in entries if entry.group == SERVICES and entry in result}
    for entry in entries:
        if entry.group == EXTENSIONS and entry.key in services:
            service = services[entry.key]
            result.setdefault(entry, _follow(result[service], f"its service {service} is"))
    return result


def _follow(verdict: Verdict, leader: str) -> Verdict:
    disabled = verdict.state is State.DISABLED
    error = PluginDisabledError if disabled else PluginError
    return Verdict.of(error(f"{leader} {verdict.state}: {verdict.reason}"))


def _malformed(entries: Iterable[CatalogueEntry]) -> Iterator[tuple[CatalogueEntry, PluginError]]:
    for entry in entries:
        fault = _name_fault(entry)
        if not entry.module:
            fault = "its metadata names no module; an entry point reads name = package.module"
        if fault:
            yield entry, PluginContractError(fault)


def _name_fault(entry: CatalogueEntry) -> str:
    """Return what is wrong with the name of an entry point, or ""."""
    if entry.group == SERVICES and not is_key(entry.name):
        return f"{entry.name!r} is no service key; a key reads noun:verb, in lower case"
    if entry.group == EXTENSIONS:
        key, slash, name = entry.name.partition("/")
        if not (is_key(key) and slash and EXTENSION_NAME.fullmatch(name)):
            return f"{entry.name!r} names no extension; it reads <service key>/<name>"
    if entry.group in NAMED_BY_PLUGIN | {COMMANDS}:
        kind = "command" if entry.group == COMMANDS else "plugin"
        if not PLUGIN_NAME.fullmatch(entry.name):
            return f"{entry.name!r} is no {kind} name; it takes lower-case letters, digits, - and _"
        if plugin_slug(entry.name) == "nocohost":
            return "the name nocohost belongs to the host"
    return ""


def _repeated(entries: Iterable[CatalogueEntry]) -> Iterator[tuple[CatalogueEntry, PluginError]]:
    """Find names that occur more than once in their group, and quarantine every one of them."""
    same: dict[tuple[str, str], list[CatalogueEntry]] = {}
    for entry in entries:
        name = plugin_slug(entry.name) if entry.group in NAMED_BY_PLUGIN else entry.name
        same.setdefault((entry.group, name), []).append(entry)
    for group in same.values():
        if len(group) > 1:
            owners = _owners(group)
            error: PluginError
            if group[0].group == SERVICES:
                error = DuplicateServiceError(
                    f"the service key {group[0].name} is offered by {owners}", hint="uninstall all but one"
                )
            else:
                error = PluginContractError(
                    f"the name {group[0].name} in {group[0].group} is used by {owners}", hint="uninstall all but one"
                )
            yield from ((entry, error) for entry in group)


def _shared_plugin_names(entries: Iterable[CatalogueEntry]) -> Iterator[tuple[CatalogueEntry, PluginError]]:
    """Find plugin names that two distributions use in different groups: settings and tables would be mixed up."""
    same: dict[str, list[CatalogueEntry]] = {}
    for entry in entries:
        if entry.group in NAMED_BY_PLUGIN:
            same.setdefault(plugin_slug(entry.name), []).append(entry)
    for group in same.values():
        if len({entry.distribution for entry in group}) > 1:
            error = PluginContractError(
                f"the plugin name {group[0].name} is used by {_owners(group)}",
                hint="one plugin comes from one distribution",
            )
            yield from ((entry, error) for entry in group)


def _owners(entries: Iterable[CatalogueEntry]) -> str:
    return " and by ".join(sorted({entry.owner for entry in entries}))


def _missing_extras(
    findings: Findings, path: Sequence[str] | None
) -> Iterator[tuple[CatalogueEntry, PluginDisabledError]]:
    for entry in findings.entries:
        for extra in entry.extras:
            missing = missing_for_extra(findings.requires.get(entry.distribution, ()), extra, path)
            if missing:
                yield entry, missing_extra(entry, extra, " and ".join(missing))


def missing_extra(entry: CatalogueEntry, extra: str, missing: str) -> PluginDisabledError:
    """Return the error of an entry point whose optional library is not installed."""
    return PluginDisabledError(
        f"{missing} is not installed", hint=f"pip install '{entry.distribution}[{extra}]', or leave it disabled"
    )


def _without_service(entries: Sequence[CatalogueEntry]) -> Iterator[tuple[CatalogueEntry, PluginDisabledError]]:
    keys = {entry.name for entry in entries if entry.group == SERVICES}
    for entry in entries:
        if entry.group == EXTENSIONS and entry.key not in keys:
            suggestion = nearest(entry.key, keys)
            yield (
                entry,
                PluginDisabledError(
                    f"no installed plugin offers the service key {entry.key}",
                    hint=f"the nearest is {suggestion}" if suggestion else "",
                ),
            )
