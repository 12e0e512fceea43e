"""The plugin that the chaos bench runs its nodes with, as a wheel made of the files in ``acme_chaos/``."""

from pathlib import Path

from plugins.wheels import Wheel

FOLDER = Path(__file__).with_name("acme_chaos")
VERBS = ("quick", "slow", "relay", "order", "brittle", "tick", "lonely")
"""One service key ``chaos:<verb>`` each; all of them run the same handler, which does what its payload says."""
SERVICE = '''
"""Offers ``chaos:{verb}``."""

from acme_chaos.handler import work
from nocohost import App, Backoff, Schedule, Service, hookimpl


@hookimpl
def register_services(app: App) -> list[Service | Schedule]:
    """Offer the service; with as many slots as a service has by itself."""
    service = Service("chaos:{verb}", work, backoff=Backoff(seconds=0.2, cap_seconds=1.0))
    schedule = Schedule("chaos.tick", "chaos:tick", {{"op": "tick"}}, interval_seconds=1, catch_up="all")
    return [service, schedule] if service.key == schedule.key else [service]
'''


def chaos_wheel() -> Wheel:
    """Return the wheel of the plugin."""
    files = {f"acme_chaos/{path.relative_to(FOLDER)}": path.read_text("utf-8") for path in FOLDER.rglob("*.py")}
    files |= {f"acme_chaos/{verb}.py": SERVICE.format(verb=verb) for verb in VERBS}
    entry_points = {
        "declarations": {"chaos": "acme_chaos.declarations"},
        "services": {f"chaos:{verb}": f"acme_chaos.{verb}" for verb in VERBS},
        "requests": {"chaos": "acme_chaos.producer"},
        "migrations": {"chaos": "acme_chaos.migrations"},
    }
    return Wheel("acme-chaos", files, entry_points)
