"""Fixtures for the whole tree: few, and typed."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil
import pytest
from plugins.wheels import Wheel, install

pytest_plugins = ("database_fixtures", "verb_fixtures")

MEMORY = Path("/dev/shm")
ENOUGH = 4 * 2**30
"""A run leaves one or two gigabytes of files behind, and as much must be left for everybody else."""


def pytest_configure(config: pytest.Config) -> None:
    """Keep throwaway files in memory where there is much of it: databases are made and dropped by the thousand.

    Hundreds of processes are started, too: they may keep what they have compiled.
    With ``-n``: give whole files to the workers, in order: the long ones come first, and chaos is not last.
    """
    if "TMPDIR" not in os.environ and has_room(MEMORY):
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if getattr(config.option, "dist", "no") == "load":
        config.option.dist = "loadfile"
        config.option.loadscopereorder = False


def pytest_xdist_auto_num_workers() -> int:
    """Answer ``-n auto``: one worker more than there are cores, for tests wait for processes and for time to pass.

    Four at the most: a container may have fewer cores than it sees, and tests of time want some of them idle.
    """
    return min(os.cpu_count() or 1, 3) + 1


def has_room(memory: Path) -> bool:
    """Tell whether the files of a run fit into this file system, and the memory behind it, and may be executed."""
    if not memory.is_dir() or not os.access(memory, os.W_OK) or os.statvfs(memory).f_flag & os.ST_NOEXEC:
        return False
    return min(shutil.disk_usage(memory).free, psutil.virtual_memory().available / 2) >= ENOUGH


@pytest.fixture(scope="session")
def install_wheels(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Iterable[Wheel | Path]], Path]:
    """Install wheels with pip into a folder of their own and return it; put it on PYTHONPATH or give it as ``path``."""

    def install_wheels(wheels: Iterable[Wheel | Path]) -> Path:
        return install(wheels, tmp_path_factory.mktemp("wheels"))

    return install_wheels
