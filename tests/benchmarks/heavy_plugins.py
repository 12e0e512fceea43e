"""Many service plugins that import something heavy, built as wheels and installed by pip into a folder of their own."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the tests keep their wheel builder

from plugins.wheels import Wheel
from plugins.wheels import install as install_wheels

DECLARATIONS = '''
    """What every node must know."""
    from nocohost import JobType, hookimpl


    @hookimpl
    def register_jobs():
        """Declare the job."""
        return [JobType("heavy{number}:work")]
'''
SERVICE = '''
    """Work that needs heavy libraries."""
    import alembic.command
    import hypothesis
    import sphinx.application
    import sqlalchemy.dialects.mysql
    from nocohost import Service, hookimpl

    TABLE = {{number: str(number) for number in range(100_000)}}


    async def work(job):
        """Do nothing with all of it."""


    @hookimpl
    def register_services(app):
        """Offer the service."""
        return [Service("heavy{number}:work", work)]
'''


def install(count: int, folder: Path) -> Path:
    """Install ``count`` plugins into ``folder`` and return where they can be imported from."""
    return install_wheels([heavy_plugin(number) for number in range(count)], folder / "wheels")


def heavy_plugin(number: int) -> Wheel:
    """Return a plugin with one service, whose module is heavy, and its declarations, which are not."""
    name = f"heavy{number}"
    return Wheel(
        name,
        {
            f"{name}/__init__.py": '"""A heavy plugin."""\n',
            f"{name}/declarations.py": DECLARATIONS.format(number=number),
            f"{name}/service.py": SERVICE.format(number=number),
        },
        {
            "declarations": {name: f"{name}.declarations"},
            "services": {f"{name}:work": f"{name}.service"},
        },
        requires=("nocohost",),
    )
