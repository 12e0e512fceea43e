"""Real wheels out of a few lines of source, and their installation with pip: plugins as strangers would ship them."""

import base64
import hashlib
import os
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Wheel:
    """One distribution: ``files`` by path, ``entry_points`` by group (without ``nocohost.``) and name."""

    name: str
    files: Mapping[str, str]
    entry_points: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    version: str = "1.0"
    requires: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        return self.name.replace("-", "_")

    def build(self, folder: Path) -> Path:
        """Write the wheel into ``folder`` and return its path."""
        info = f"{self.module}-{self.version}.dist-info"
        contents = {path: textwrap.dedent(text).lstrip() for path, text in self.files.items()}
        contents[f"{info}/METADATA"] = self._metadata()
        contents[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        if self.entry_points:
            contents[f"{info}/entry_points.txt"] = self._entry_points()
        record = "".join(f"{path},{_digest(text)},{len(text.encode())}\n" for path, text in contents.items())
        contents[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
        target = folder / f"{self.module}-{self.version}-py3-none-any.whl"
        with zipfile.ZipFile(target, "w") as archive:
            for path, text in contents.items():
                archive.writestr(path, text)
        return target

    def _metadata(self) -> str:
        extras = {part.split("extra ==")[1].strip(" \"'") for part in self.requires if "extra ==" in part}
        lines = ["Metadata-Version: 2.1", f"Name: {self.name}", f"Version: {self.version}"]
        lines += [f"Provides-Extra: {extra}" for extra in sorted(extras)]
        lines += [f"Requires-Dist: {requirement}" for requirement in self.requires]
        return "\n".join(lines) + "\n"

    def _entry_points(self) -> str:
        lines = []
        for group, entries in self.entry_points.items():
            lines.append(f"[nocohost.{group}]")
            lines += [f"{name} = {value}" for name, value in entries.items()]
        return "\n".join(lines) + "\n"


def install(wheels: Iterable[Wheel | Path], folder: Path) -> Path:
    """Build the wheels and install them with pip into ``folder``/site, without index and dependencies; return that."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [wheel.build(folder) if isinstance(wheel, Wheel) else wheel for wheel in wheels]
    site = folder / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
    command += ["--disable-pip-version-check", "--no-warn-conflicts", "--target", str(site), *map(str, files)]
    environment = {**os.environ, "PIP_CONFIG_FILE": os.devnull, "PIP_ROOT_USER_ACTION": "ignore"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return site


def _digest(text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    return f"sha256={digest}"


def nodes_with(folder: Path, database_url: str) -> dict[str, str]:
    """Return the environment of nodes that find what is installed in ``folder``, on this database."""
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))
    return {"PYTHONPATH": path, "NOCOHOST_DATABASE__URL": database_url}
