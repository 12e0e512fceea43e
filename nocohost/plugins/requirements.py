"""Optional libraries: which of them an entry point needs, and which are not installed."""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import distributions
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.requirements import Requirement


def missing_for_extra(requires: Iterable[str], extra: str, path: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return what ``extra`` of a distribution asks for and is not installed, as requirement strings.

    ``requires`` is what the distribution's metadata says; the version that is installed must fit too.
    """
    return tuple(str(requirement) for requirement in _asked_by(requires, extra) if not is_installed(requirement, path))


def extra_of_module(requires: Iterable[str], module: str, path: Sequence[str] | None = None) -> tuple[str, str]:
    """Return the extra and the requirement that would bring the missing ``module``; ("", "") when none would.

    A library that is not installed does not tell what its modules are called, so the names are compared: the module
    ``google.cloud`` fits the requirement ``google-cloud-storage``. An entry point that names its extras needs no guess.
    """
    wanted = _normal(module)
    for extra in extras(requires):
        for requirement in _asked_by(requires, extra):
            name = _normal(requirement.name)
            fits = name in (wanted, _normal(module.partition(".")[0])) or name.startswith(f"{wanted}-")
            if fits and not is_installed(requirement, path):
                return extra, str(requirement)
    return "", ""


def extras(requires: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the extras that ``requires`` mentions."""
    found = (re.findall(r"""extra\s*==\s*["']([^"']+)["']""", text) for text in requires)
    return tuple(dict.fromkeys(extra for names in found for extra in names))


def is_installed(requirement: "Requirement", path: Sequence[str] | None = None) -> bool:
    """Tell whether a distribution that fits ``requirement`` is installed on ``path`` (``sys.path`` when None)."""
    where = list(sys.path if path is None else path)
    found = next(iter(distributions(name=requirement.name, path=where)), None)
    try:
        return found is not None and requirement.specifier.contains(found.version, prereleases=True)
    except (KeyError, TypeError, ValueError):
        return False


def _asked_by(requires: Iterable[str], extra: str) -> "Iterator[Requirement]":
    # Only entry points with extras and failed imports come here; a healthy start never loads the parser.
    from packaging.requirements import InvalidRequirement, Requirement

    for text in requires:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        marker = requirement.marker
        if marker is not None and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""}):
            requirement.marker = None
            yield requirement


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
