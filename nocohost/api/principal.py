"""Who is asking, and what they may do."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever sent a request: an id, and the scopes granted to it.

    A permission is ``noun.verb``. A scope is a permission, ``noun.*``, ``read`` (every ``*.read``), ``operate`` (every
    ``*.read`` and ``*.operate``) or ``admin`` (all).
    """

    id: str
    scopes: frozenset[str] = frozenset()

    def may(self, permission: str) -> bool:
        """Tell whether the scopes of this principal grant ``permission``."""
        noun, _, verb = permission.partition(".")
        if not self.scopes.isdisjoint(("admin", permission, f"{noun}.*")):
            return True
        if verb == "read":
            return not self.scopes.isdisjoint(("read", "operate"))
        return verb == "operate" and "operate" in self.scopes
