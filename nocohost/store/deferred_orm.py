"""SQLAlchemy's asyncio package without its sessions, and so without the ORM, until somebody asks for one.

Nothing of nocohost uses the ORM, which costs every node six mebibytes and its share of the time to start. A plugin that
imports ``AsyncSession`` from ``sqlalchemy.ext.asyncio``, or any of its neighbours, gets it as ever.
"""

import sys
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

PACKAGE = "sqlalchemy.ext.asyncio"
DEFERRED = ("session", "scoping")
"""The modules of the package that import the ORM."""


class _Absent(NamedTuple):
    """Stands for a name until the module that has it is loaded."""

    module: str


class _StandIn(ModuleType):
    """Stands for a module while the package imports names from it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Absent(self.__name__)


def defer_orm() -> None:
    """Load the package without the modules that import the ORM; nothing is done where it is loaded already."""
    if PACKAGE in sys.modules:
        return
    stand_ins = {name: _StandIn(name) for name in (f"{PACKAGE}.{module}" for module in DEFERRED)}
    sys.modules.update(stand_ins)
    try:
        package = import_module(PACKAGE)
    finally:
        for name in stand_ins:
            del sys.modules[name]
    names = {name: value.module for name, value in vars(package).items() if isinstance(value, _Absent)}
    for name in names:
        delattr(package, name)
    vars(package)["__getattr__"] = _Loader(package, names)


class _Loader:
    """What the package asks for names that it does not have."""

    def __init__(self, package: ModuleType, names: Mapping[str, str]) -> None:
        self._package = package
        self._names = names

    def __call__(self, name: str) -> Any:
        if name in DEFERRED:
            return import_module(f"{PACKAGE}.{name}")
        if name not in self._names:
            raise AttributeError(f"module {PACKAGE!r} has no attribute {name!r}")
        found = getattr(import_module(self._names[name]), name)
        setattr(self._package, name, found)
        return found
