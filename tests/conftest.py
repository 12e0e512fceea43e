"""Fixtures for the whole tree: few, and typed."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from plugins.wheels import Wheel, install

pytest_plugins = ("database_fixtures", "verb_fixtures")


def pytest_configure(config: pytest.Config) -> None:
    """With ``-n``: give whole files to the workers, in order: the long ones come first, and chaos is not last."""
    if getattr(config.option, "dist", "no") == "load":
        config.option.dist = "loadfile"
        config.option.loadscopereorder = False


@pytest.fixture(scope="session")
def install_wheels(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Iterable[Wheel | Path]], Path]:
    """Install wheels with pip into a folder of their own and return it; put it on PYTHONPATH or give it as ``path``."""

    def install_wheels(wheels: Iterable[Wheel | Path]) -> Path:
        return install(wheels, tmp_path_factory.mktemp("wheels"))

    return install_wheels
