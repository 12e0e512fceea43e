"""Fixtures of several acceptance tests: the plugin whose handlers do what no handler should, and its databases."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from plugins.acrobats import ACROBATS

from nocohost.testing.postgres import PostgresServer, find_binaries


@pytest.fixture(scope="session")
def acrobats(install_wheels: Callable[[Any], Path]) -> Path:
    return install_wheels([ACROBATS])


@pytest.fixture(params=["sqlite", "postgresql"])
def acrobat_environ(request: pytest.FixtureRequest, acrobats: Path) -> Iterator[dict[str, str]]:
    """The environment of nodes on a database of their own."""
    path = os.pathsep.join(filter(None, [str(acrobats), os.environ.get("PYTHONPATH", "")]))
    if request.param == "sqlite":
        yield {"PYTHONPATH": path}
        return
    if find_binaries(os.environ) is None:
        pytest.skip("no PostgreSQL")
    server: PostgresServer = request.getfixturevalue("postgresql_server")
    name = f"acrobats_{os.urandom(4).hex()}"
    yield {"PYTHONPATH": path, "NOCOHOST_DATABASE__URL": server.create_database(name)}
    server.drop_database(name)
