"""Virtual environments of the contestants: made in the cache folder once, from PyPI, and used again."""

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from queue_race.store import MissingError

CHECKOUT = Path(__file__).resolve().parents[3]
OURS = ("--editable", f"{CHECKOUT}[fast,postgres]")
"""What users have: this checkout without what its tests need, some of which a node would import."""


def interpreter(cache: Path, requirements: Sequence[str]) -> str:
    """Return a Python that has the requirements, newest versions; one with this checkout when there are none.

    Raises ``MissingError`` when pip cannot install them.
    """
    facts = tuple(sorted(requirements)) or (*OURS, (CHECKOUT / "pyproject.toml").read_text("utf-8"))
    requirements = requirements or OURS
    digest = hashlib.sha256(repr((sys.version_info[:2], *facts)).encode()).hexdigest()[:12]
    folder = cache / "environments" / digest
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        print(f"installing {', '.join(requirements)}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise MissingError(f"pip could not install {', '.join(requirements)}: {done.stderr.strip()[-300:]}")
        (folder / "complete").touch()
    return str(python)


def versions(python: str) -> dict[str, str]:
    """Return the version of every distribution that ``python`` can import."""
    code = "import importlib.metadata as m; print(*(f'{d.name}=={d.version}' for d in m.distributions()), sep='\\n')"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return dict(line.lower().split("==", 1) for line in done.stdout.splitlines())
