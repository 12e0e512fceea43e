"""The containers of Kubernetes manifests: of a Pod, of whatever holds a pod template, and of lists of these."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nocohost.node.containers import Container, FromElsewhere, words_of

DEEPEST_LIST = 4
"""Lists in lists do not occur; a YAML alias can make one that holds itself."""
ENDS_BY_ITSELF = frozenset({"Job", "CronJob"})


def containers_of_kubernetes(documents: Sequence[Mapping[Any, Any]]) -> Iterator[Container]:
    """Yield every container that stays, so no init container; ConfigMaps among ``documents`` are looked up."""
    objects = [item for document in documents for item in _objects(document)]
    maps = {_name(item): _mapping(item.get("data")) for item in objects if item.get("kind") == "ConfigMap"}
    for item in objects:
        yield from _containers(item, maps)


def _objects(document: Mapping[Any, Any], depth: int = 0) -> Iterator[Mapping[Any, Any]]:
    items = document.get("items")
    if not (isinstance(items, list) and str(document.get("kind")).endswith("List")):
        yield document
    elif depth < DEEPEST_LIST:
        for item in items:
            if isinstance(item, dict):
                yield from _objects(item, depth + 1)


def _containers(item: Mapping[Any, Any], maps: Mapping[str, Mapping[str, Any]]) -> Iterator[Container]:
    kind = str(item.get("kind"))
    spec = _mapping(item.get("spec"))
    if kind == "CronJob":
        spec = _at(spec, "jobTemplate", "spec")
    pod = spec if kind == "Pod" else _at(spec, "template", "spec")
    count = spec.get("parallelism" if kind in ENDS_BY_ITSELF else "replicas")
    replicas = count if type(count) is int and count >= 0 else 1
    containers = pod.get("containers")
    for container in containers if isinstance(containers, list) else ():
        if isinstance(container, dict):
            where = f"{kind} {_name(item)}, container {container.get('name')}"
            command = words_of(container.get("command")) + words_of(container.get("args"))
            yield Container(where, _environment(container, maps), replicas, kind not in ENDS_BY_ITSELF, command)


def _environment(container: Mapping[Any, Any], maps: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the environment of a container; what ``env`` names overrides what ``envFrom`` brings."""
    environment: dict[str, Any] = {}
    for source in _maps_in(container.get("envFrom")):
        name = str(_mapping(source.get("configMapRef")).get("name"))
        prefix = source.get("prefix") or ""
        environment |= {f"{prefix}{key}": value for key, value in maps.get(name, {}).items()}
    for variable in _maps_in(container.get("env")):
        environment[str(variable.get("name"))] = _value(variable, maps)
    return environment


def _value(variable: Mapping[Any, Any], maps: Mapping[str, Mapping[str, Any]]) -> Any:
    source = variable.get("valueFrom")
    if not isinstance(source, dict):
        return variable.get("value")
    reference = _mapping(source.get("configMapKeyRef"))
    name, key = str(reference.get("name")), str(reference.get("key"))
    if key in maps.get(name, {}):
        return maps[name][key]
    return FromElsewhere(", ".join(str(kind) for kind in source) or "valueFrom")


def _at(mapping: Mapping[Any, Any], *path: str) -> Mapping[Any, Any]:
    for step in path:
        mapping = _mapping(mapping.get(step))
    return mapping


def _name(item: Mapping[Any, Any]) -> str:
    return str(_mapping(item.get("metadata")).get("name"))


def _mapping(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, dict) else {}


def _maps_in(value: Any) -> Iterator[Mapping[Any, Any]]:
    return (item for item in value if isinstance(item, dict)) if isinstance(value, list) else iter(())
