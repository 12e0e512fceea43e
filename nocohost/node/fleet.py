"""The fleet linter: who would serve what, if nodes with these worker modes were started.

It answers from the modes and the installed catalogue alone, before anything starts. The codes of its findings are
stable; ``docs/reference/modes.md`` lists them.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nocohost.api.errors import WorkerModeError
from nocohost.api.mode import WorkerMode
from nocohost.node.mode import parse_mode
from nocohost.node.terms import quoted

Level = Literal["error", "warning", "info"]
REQUESTS = "requests"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing the linter has to say: how bad, which kind, what, and where it stands."""

    level: Level
    code: str
    message: str
    where: str

    def as_dict(self) -> dict[str, str]:
        """Return the finding as the JSON object of ``mode plan``."""
        return {"level": self.level, "code": self.code, "message": self.message, "where": self.where}


@dataclass(frozen=True, slots=True)
class PlannedNode:
    """Nodes that are to be started with one mode: its string, where that stands, and how many there will be."""

    mode: str
    where: str
    replicas: int = 1
    lasting: bool = True
    """False for nodes that end by themselves, as those of a Kubernetes Job do."""


@dataclass(frozen=True, slots=True)
class FleetNode:
    """A planned node whose mode was accepted."""

    mode: WorkerMode
    services: tuple[str, ...]
    """Installed keys that it would serve, and external ones that its mode names."""
    plan: PlannedNode

    @property
    def serves(self) -> tuple[str, ...]:
        """Return ``requests``, if it serves them, and its keys."""
        return (REQUESTS,) * self.mode.serves_requests + self.services

    def as_dict(self) -> dict[str, Any]:
        """Return the node as the JSON object of ``mode plan``."""
        return {
            "mode": self.mode.canonical,
            "requests": self.mode.serves_requests,
            "services": list(self.services),
            "replicas": self.plan.replicas,
            "where": self.plan.where,
        }


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """What the planned nodes would serve together, and what is wrong with that."""

    nodes: tuple[FleetNode, ...]
    coverage: Mapping[str, int]
    """``requests`` and every key -> how many nodes would serve it."""
    findings: tuple[Finding, ...]

    @property
    def unserved(self) -> tuple[str, ...]:
        """Return ``requests`` and the keys that nobody would serve; never a key left to other images."""
        return tuple(finding.where for finding in self.findings if finding.code == "plan.unserved")

    @property
    def has_errors(self) -> bool:
        """Tell whether this fleet must not be started as planned."""
        return any(finding.level == "error" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON object of ``mode plan``."""
        return {
            "nodes": [node.as_dict() for node in self.nodes],
            "coverage": dict(self.coverage),
            "unserved": list(self.unserved),
            "findings": [finding.as_dict() for finding in self.findings],
        }


def lint(
    nodes: Iterable[str | PlannedNode],
    *,
    declared: Collection[str],
    external: Collection[str] = (),
    required: bool = False,
    found: Sequence[Finding] = (),
) -> FleetPlan:
    """Judge nodes that are to be started with these modes, given as strings or with the place they were read from.

    ``found`` is what reading that place had to say already; it comes first. Nothing raises: a refused mode is a
    finding like any other.
    """
    findings = [*found]
    accepted = []
    for number, node in enumerate(nodes, start=1):
        plan = node if isinstance(node, PlannedNode) else PlannedNode(node, f"mode {number} ({quoted(node)})")
        try:
            parsed = parse_mode(plan.mode, declared=declared, external=external, required=required)
        except WorkerModeError as error:
            findings.append(Finding("error", error.code, str(error), plan.where))
            continue
        accepted.append(FleetNode(parsed.mode, _served(parsed.mode, declared, external), plan))
        findings += [Finding("info", "plan.notice", notice, plan.where) for notice in parsed.notices]
    findings += [_idle(node) for node in accepted if not node.serves]
    counted = Counter(dict.fromkeys([REQUESTS, *sorted(declared)], 0))
    for placed in accepted:
        counted.update(dict.fromkeys(placed.serves, placed.plan.replicas))
    for served in [REQUESTS, *sorted(declared)]:
        findings += _coverage(served, counted[served], [node for node in accepted if served in node.serves])
    return FleetPlan(tuple(accepted), counted, tuple(findings))


def _served(mode: WorkerMode, declared: Collection[str], external: Collection[str]) -> tuple[str, ...]:
    named = (key for key in external if mode.covers(key) and mode.deciding_term(key)[1] != "*")
    return tuple(sorted({*(key for key in declared if mode.covers(key)), *named}))


def _idle(node: FleetNode) -> Finding:
    what = (
        "'-' is for children, which nodes start themselves"
        if node.mode.is_transient
        else "nothing it names is installed"
    )
    return Finding("warning", "plan.serves_nothing", f"this node would serve nothing: {what}", node.plan.where)


def _coverage(served: str, count: int, nodes: Sequence[FleetNode]) -> Iterable[Finding]:
    what = "requests" if served == REQUESTS else f"the service key {served}"
    if not count:
        asleep = ", ".join(node.plan.where for node in nodes)
        message = f"no node would serve {what}" + (f"; 0 replicas are planned in {asleep}" if asleep else "")
        yield Finding("error", "plan.unserved", message, served)
    elif not any(node.plan.lasting and node.plan.replicas for node in nodes):
        where = ", ".join(node.plan.where for node in nodes)
        yield Finding("warning", "plan.served_for_a_while", f"{what} is served only while {where} runs", served)
    elif count == 1:
        yield Finding("info", "plan.served_once", f"one node alone would serve {what}", served)
