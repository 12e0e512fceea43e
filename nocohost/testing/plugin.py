"""The pytest plugin: fixtures ``clock``, ``node`` and ``cluster``. Asks for no particular asyncio plugin."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from nocohost.testing.clock import FakeClock
    from nocohost.testing.cluster import ClusterNode
    from nocohost.testing.node import TestNode

NodeFactory = Callable[..., "AbstractAsyncContextManager[TestNode]"]
ClusterFactory = Callable[..., "AbstractAsyncContextManager[list[ClusterNode]]"]


@pytest.fixture
def clock() -> "FakeClock":
    """Return a clock that stands still until the test turns it; the nodes of ``node`` follow it."""
    from nocohost.testing.clock import FakeClock

    return FakeClock()


@pytest.fixture
def node(tmp_path: Path, clock: "FakeClock") -> NodeFactory:
    """Return ``node(mode, **settings)``: an async context manager of a node in this process.

    Settings are environment names: ``node("!", NOCOHOST_QUEUE__POLL_SECONDS="5")``. Nodes of one test share a database.
    """
    from nocohost.testing.node import open_node

    neighbours: list[TestNode] = []

    def open_one(mode: str = "", **environ: str) -> "AbstractAsyncContextManager[TestNode]":
        return open_node(mode, tmp_path, clock, neighbours, environ)

    return open_one


@pytest.fixture
def cluster(tmp_path: Path) -> ClusterFactory:
    """Return ``cluster(*modes, **settings)``: an async context manager of real processes, ready, in order."""
    from nocohost.testing.cluster import open_cluster

    def open_all(*modes: str, **environ: str) -> "AbstractAsyncContextManager[list[ClusterNode]]":
        return open_cluster(modes, tmp_path, environ)

    return open_all
