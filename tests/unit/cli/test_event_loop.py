"""Which event loop a node runs on."""

import sys
from types import ModuleType

import pytest

from nocohost.cli.run import loop_factory


def test_a_node_runs_on_uvloop_where_it_is_installed_and_else_on_python_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    uvloop = ModuleType("uvloop")
    vars(uvloop)["new_event_loop"] = object()
    monkeypatch.setitem(sys.modules, "uvloop", uvloop)
    assert loop_factory() is vars(uvloop)["new_event_loop"]
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert loop_factory() is None
