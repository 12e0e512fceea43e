"""The containers of a Compose file."""

from collections.abc import Iterator, Mapping
from typing import Any

from nocohost.node.containers import Container, FromElsewhere, words_of


def containers_of_compose(document: Mapping[Any, Any]) -> Iterator[Container]:
    """Yield one container for each service; none when ``document`` is no Compose file."""
    services = document.get("services")
    for name, service in services.items() if isinstance(services, dict) else ():
        if isinstance(service, dict):
            command = words_of(service.get("entrypoint")) + words_of(service.get("command"))
            environment = _environment(service.get("environment"))
            yield Container(f"services.{name}", environment, _replicas(service), command=command)


def _environment(given: Any) -> Mapping[str, Any]:
    """Return ``environment``, which may be written as a map or as a list, as a map."""
    if isinstance(given, dict):
        return {str(name): value for name, value in given.items()}
    if not isinstance(given, list):
        return {}
    pairs = [item.partition("=") for item in given if isinstance(item, str)]
    # A name without "=" hands on the variable of whoever starts the service. That is meant so, unlike a null in a map.
    handed_on = FromElsewhere("handed on from the environment of Compose")
    return {name: value if sign else handed_on for name, sign, value in pairs}


def _replicas(service: Mapping[Any, Any]) -> int:
    deploy = service.get("deploy")
    given = deploy.get("replicas") if isinstance(deploy, dict) else None
    count = service.get("scale") if given is None else given
    return count if type(count) is int and count >= 0 else 1
