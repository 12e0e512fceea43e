"""The means to write down a plugin that is wrong in one way: its distribution, and what must become of it."""

import textwrap
from dataclasses import dataclass, field

from plugins.wheels import Wheel

HEAD = """
from nocohost import App, Check, Job, JobType, Route, Service, hookimpl, hookspec, route

async def handle(job: Job) -> None: ...
async def answer(request): ...
"""


@dataclass(frozen=True)
class Misfit:
    """One distribution; ``becomes`` maps (group, name) to (state, what the reason says)."""

    wheel: Wheel
    becomes: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)


def service(case: str, body: str, reason: str, state: str = "quarantined", **options: object) -> Misfit:
    """A distribution with one service, ``<case>:work``, whose module is ``body``."""
    return surface(case, "services", f"{case}:work", body, reason, state, **options)


def surface(
    case: str,
    group: str,
    name: str,
    body: str,
    reason: str,
    state: str = "quarantined",
    *,
    raw: bool = False,
    reference: str = "{}.surface",
    requires: tuple[str, ...] = (),
    others: dict[str, dict[str, str]] | None = None,
    more_files: dict[str, str] | None = None,
    more: dict[tuple[str, str], tuple[str, str]] | None = None,
) -> Misfit:
    """A distribution ``misfit-<case>`` with one faulty entry point, and ``others`` that are sound."""
    package = f"misfit_{case.replace('-', '_')}"
    text = textwrap.dedent(body)
    files = {f"{package}/__init__.py": "", f"{package}/surface.py": text if raw else HEAD + text}
    files |= {path.format(package): source for path, source in (more_files or {}).items()}
    points = {group: {name: reference.format(package)}}
    for other, entries in (others or {}).items():
        points.setdefault(other, {}).update({key: value.format(package) for key, value in entries.items()})
    wheel = Wheel(f"misfit-{case}", files, points, requires=requires)
    return Misfit(wheel, {(group, name): (state, reason), **(more or {})})


def offering(key: str, handler: str = "handle") -> str:
    """The source of a sound service module."""
    return f"""
@hookimpl
def register_services(app):
    return [Service("{key}", {handler})]
"""


def requests(case: str, routes: str, reason: str, head: str = "") -> Misfit:
    """A distribution with one requests entry that serves ``routes``."""
    return surface(case, "requests", case, f"{head}\n@hookimpl\ndef serve_requests(app): return [{routes}]", reason)


NEIGHBOUR = Wheel(
    "neighbour",
    {
        "neighbour/__init__.py": "",
        "neighbour/declarations.py": """
            from nocohost import JobType, hookimpl, hookspec

            class NeighbourHooks:
                @hookspec
                def neighbour_greeting(self, name): ...

            @hookimpl
            def register_jobs():
                return [JobType("neighbour:work")]

            @hookimpl
            def register_hookspecs():
                return [NeighbourHooks]
        """,
        "neighbour/work.py": HEAD + offering("neighbour:work"),
        "neighbour/routes.py": HEAD
        + "@hookimpl\ndef serve_requests(app):\n    return [route('GET', '/neighbour', answer, public=True)]\n",
        "neighbour/greeting.py": HEAD + "@hookimpl\ndef neighbour_greeting(name): return f'hello {name}'\n",
    },
    {
        "declarations": {"neighbour": "neighbour.declarations"},
        "services": {"neighbour:work": "neighbour.work"},
        "requests": {"neighbour": "neighbour.routes"},
        "extensions": {"neighbour:work/greeting": "neighbour.greeting"},
    },
)
"""The good one among them; it must be served whatever the others do."""
