"""Route paths: which are well formed, and which two are the same to the router whatever their variables are called."""

import re
from collections.abc import Iterable, Mapping
from urllib.parse import unquote

from nocohost.api.errors import PluginContractError
from nocohost.api.routes import Route

VARIABLE = re.compile(r"\{(?P<name>[A-Za-z_]\w*)(?::(?P<pattern>(?:[^{}]|\{[^{}]*\})+))?\}", re.ASCII)
"""``{name}`` or ``{name:pattern}``, as aiohttp reads them; a pattern may hold one more level of braces."""
ANYTHING = "[^{}/]+"
"""What a variable without a pattern matches."""
HOST_PATHS = frozenset({"/livez", "/readyz", "/healthz"})
"""Health of the node, answered by the host on the same port."""

Claim = tuple[str, str]


def claim_of(route: Route) -> Claim:
    r"""Return the method and the path of ``route`` in the form in which two routes clash when they are equal.

    ``/a/{x}`` and ``/a/{y}`` clash, ``/a/{x:\d+}`` and ``/a/{y}`` do not: the router asks them in order. Raises
    ``PluginContractError`` for a path that the router would not take, and for the host's own paths.
    """
    where = f"route {route.method} {route.path}"
    if unquote(route.path) in HOST_PATHS:
        raise PluginContractError(f"{where}: the path belongs to the host")
    names: list[str] = []
    parts: list[str] = []
    rest = 0
    for match in VARIABLE.finditer(route.path):
        pattern = match["pattern"] or ANYTHING
        parts += [_static(route.path[rest : match.start()], where), f"{{{pattern}}}"]
        names.append(match["name"])
        rest = match.end()
        try:
            re.compile(pattern)
        except re.error as error:
            raise PluginContractError(f"{where}: {pattern!r} is no regular expression: {error}") from error
    if len(set(names)) < len(names):
        raise PluginContractError(f"{where}: the same variable stands there twice")
    parts.append(_static(route.path[rest:], where))
    return route.method, "".join(parts)


def clashes(routes: Mapping[str, Iterable[Route]]) -> dict[str, PluginContractError]:
    """Return the owners, by the names given as keys, whose routes another owner claims too, each with its error.

    The paths are well formed. All claimants are returned: were one to win, requests meant for the other would reach
    the wrong code without a word.
    """
    claims: dict[Claim, list[tuple[str, Route]]] = {}
    errors: dict[str, PluginContractError] = {}
    for owner, owned in routes.items():
        for route in owned:
            claims.setdefault(claim_of(route), []).append((owner, route))
    for claimants in claims.values():
        for place, (owner, route) in enumerate(claimants):
            others = claimants[:place] + claimants[place + 1 :]
            if others:
                name, other = others[0]
                whose = "the same plugin" if name == owner else name
                errors.setdefault(
                    owner,
                    PluginContractError(
                        f"route {route.method} {route.path} is also claimed by {whose} ({other.path})",
                        hint="a method and path belong to one plugin",
                    ),
                )
    return errors


def _static(text: str, where: str) -> str:
    if "{" in text or "}" in text:
        raise PluginContractError(f"{where}: a brace without its partner, or a variable without a plain name")
    return unquote(text)
