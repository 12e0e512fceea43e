"""Fixtures of the bench: its plugin, installed once, and a PostgreSQL of its own that may crash."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from nocohost.testing.postgres import PostgresServer, find_binaries


@pytest.fixture(scope="session")
def chaos_plugin(install_wheels) -> Path:
    """The folder in which the bench's plugin is installed."""
    from plugins.chaos import chaos_wheel

    return install_wheels([chaos_wheel()])


@pytest.fixture(scope="session")
def crashing_server() -> Iterator[PostgresServer]:
    """A PostgreSQL that forces to disk what it commits, for a nemesis to crash."""
    binaries = find_binaries(os.environ)
    if binaries is None:
        pytest.skip("no PostgreSQL found")
    with PostgresServer(binaries, durable=True) as server:
        yield server


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long runs out unless ``-m`` asks for them."""
    if not config.option.markexpr:
        long = [item for item in items if item.get_closest_marker("chaos") or item.get_closest_marker("soak")]
        items[:] = [item for item in items if item not in long]
        config.hook.pytest_deselected(items=long)
