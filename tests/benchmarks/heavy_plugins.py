"""Many service plugins that import something heavy, built as wheels and installed by pip into a folder of their own."""

import base64
import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

DECLARATIONS = '''"""What every node must know."""
from nocohost import JobType, hookimpl


@hookimpl
def register_jobs():
    """Declare the job."""
    return [JobType("heavy{number}:work")]
'''
SERVICE = '''"""Work that needs heavy libraries."""
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
ENTRY_POINTS = """[nocohost.declarations]
heavy{number} = heavy{number}.declarations

[nocohost.services]
heavy{number}:work = heavy{number}.service
"""
METADATA = "Metadata-Version: 2.1\nName: heavy{number}\nVersion: 1.0\nRequires-Dist: nocohost\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: nocohost benchmarks\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def install(count: int, folder: Path) -> Path:
    """Install ``count`` plugins into ``folder`` and return where they can be imported from."""
    wheels = [build(number, folder / "wheels") for number in range(count)]
    target = folder / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, "--no-index", "--no-deps", "--target", target, *wheels], check=True)
    return target


def build(number: int, folder: Path) -> Path:
    """Build the wheel of one plugin."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"heavy{number}-1.0.dist-info"
    files = {
        f"heavy{number}/__init__.py": '"""A heavy plugin."""\n',
        f"heavy{number}/declarations.py": DECLARATIONS.format(number=number),
        f"heavy{number}/service.py": SERVICE.format(number=number),
        f"{info}/METADATA": METADATA.format(number=number),
        f"{info}/WHEEL": WHEEL,
        f"{info}/entry_points.txt": ENTRY_POINTS.format(number=number),
    }
    wheel = folder / f"heavy{number}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        record = [f"{name},sha256={digest(text)},{len(text.encode())}" for name, text in files.items()]
        archive.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,"]) + "\n")
    return wheel


def digest(text: str) -> str:
    """Return the hash of a file as a wheel's RECORD writes it."""
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
