"""The worker mode as a value: what one node serves. Its grammar is read by ``nocohost.node.mode``."""

from dataclasses import dataclass

from nocohost.api.keys import namespace_of


@dataclass(frozen=True, slots=True)
class WorkerMode:
    """What a node serves: requests, all services or some of them, or nothing at all (a child).

    Two modes that mean the same are equal, however they were written.
    """

    serves_requests: bool = True
    serves_all: bool = True
    keys: frozenset[str] = frozenset()
    """Keys named one by one; empty when ``serves_all``."""
    namespaces: frozenset[str] = frozenset()
    """Namespaces served whole (``workflow`` for ``workflow:*``); empty when ``serves_all``."""
    excluded_keys: frozenset[str] = frozenset()
    excluded_namespaces: frozenset[str] = frozenset()

    def covers(self, key: str) -> bool:
        """Tell whether a node of this mode serves ``key``."""
        return self.deciding_term(key)[0]

    def deciding_term(self, key: str) -> tuple[bool, str]:
        """Return whether ``key`` is served, and the term that decides it ("" when none names it)."""
        namespace = namespace_of(key)
        if key in self.excluded_keys:
            return False, f"-{key}"
        if namespace in self.excluded_namespaces:
            return False, f"-{namespace}:*"
        if self.serves_all:
            return True, "*"
        if key in self.keys:
            return True, key
        if namespace in self.namespaces:
            return True, f"{namespace}:*"
        return False, ""

    @property
    def is_transient(self) -> bool:
        """Tell whether this is ``-``, the mode of a throwaway child that serves nothing."""
        return not (self.serves_requests or self.serves_all or self.keys or self.namespaces)

    @property
    def canonical(self) -> str:
        """Return the one way to write this mode: ``!``, ``*``, keys sorted, exclusions sorted; ``-`` for a child."""
        if self.is_transient:
            return "-"
        terms = ["!"] * self.serves_requests + ["*"] * self.serves_all
        terms += sorted(self.keys | {f"{namespace}:*" for namespace in self.namespaces})
        excluded = self.excluded_keys | {f"{namespace}:*" for namespace in self.excluded_namespaces}
        terms += [f"-{term}" for term in sorted(excluded)]
        return ",".join(terms)

    def __str__(self) -> str:
        return self.canonical


EVERYTHING = WorkerMode()
"""Requests and every service: the mode of a node without ``WORKER_MODE``."""
CHILD = WorkerMode(serves_requests=False, serves_all=False)
"""The mode ``-``."""
