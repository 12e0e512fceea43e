"""The worker modes that Compose files and Kubernetes manifests give to their containers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml

from nocohost.node.compose import containers_of_compose
from nocohost.node.containers import Container, planned_in
from nocohost.node.fleet import Finding, PlannedNode
from nocohost.node.kubernetes import containers_of_kubernetes


@dataclass(frozen=True, slots=True)
class Manifest:
    """The nodes of one file, and what is wrong with how their modes are given."""

    nodes: tuple[PlannedNode, ...] = ()
    findings: tuple[Finding, ...] = ()


def read_manifest(text: str, name: str) -> Manifest:
    """Return the nodes of a YAML file with any number of documents; ``name`` is what messages call the file.

    Nothing raises: a file that is no YAML is a finding that names line and column.
    """
    try:
        documents = [document for document in yaml.safe_load_all(text) if isinstance(document, dict)]
    except yaml.YAMLError as error:
        return Manifest(findings=(_syntax(error, text, name),))
    except RecursionError:
        return Manifest(findings=(Finding("error", "plan.yaml_syntax", "the YAML is nested too deep", name),))
    except (ValueError, LookupError, TypeError, AttributeError) as error:  # PyYAML lets its scalar constructors fail so
        return Manifest(findings=(Finding("error", "plan.yaml_syntax", f"a YAML value is malformed: {error}", name),))
    nodes, findings = [], []
    for container in _containers(documents):
        planned = planned_in(replace(container, where=f"{name}: {container.where}"))
        if isinstance(planned, Finding):
            findings.append(planned)
        elif planned:
            nodes.append(planned)
    if not nodes and not findings:
        findings.append(Finding("warning", "plan.no_nodes", "no container sets WORKER_MODE", name))
    return Manifest(tuple(nodes), tuple(findings))


def _containers(documents: Sequence[Mapping[Any, Any]]) -> Iterator[Container]:
    for document in documents:
        yield from containers_of_compose(document)
    yield from containers_of_kubernetes(documents)


def _syntax(error: yaml.YAMLError, text: str, name: str) -> Finding:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not YAML"
    if mark is None:
        return Finding("error", "plan.yaml_syntax", f"cannot be read as YAML: {problem}", name)
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    hint = "; quote the mode: WORKER_MODE: '*'" if "WORKER_MODE" in line or "value:" in line else ""
    if "{{" in line:
        hint = "; this is a template: render it first, and read its output with --from -"
    where = f"{name}, line {mark.line + 1}, column {mark.column + 1}"
    return Finding("error", "plan.yaml_syntax", f"cannot be read as YAML: {problem}{hint}", where)
