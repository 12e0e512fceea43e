"""Fixtures of several acceptance tests: the plugin whose handlers do what no handler should, and its databases."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from plugins.acrobats import ACROBATS
from plugins.wheels import nodes_with


@pytest.fixture(scope="session")
def acrobats(install_wheels: Callable[[Any], Path]) -> Path:
    return install_wheels([ACROBATS])


@pytest.fixture
def acrobat_environ(database_url: Callable[[], str], acrobats: Path) -> dict[str, str]:
    """The environment of nodes that know the plugin, on a database of their own."""
    return nodes_with(acrobats, database_url())
