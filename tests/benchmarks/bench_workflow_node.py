"""One node in this process, with a step that does nothing, for ``bench_workflows``."""

import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from builtin_plugins.workflow import StepCall, StepForm, StepType
from builtin_plugins.workflow.library import Library
from builtin_plugins.workflow.step_runs import StepRuns
from nocohost import App
from nocohost.host.build import build_node
from nocohost.host.log import make_log
from nocohost.host.running import RunningNode
from nocohost.node.clock import SystemClock
from nocohost.node.settings import load_settings, read_mode
from nocohost.plugins.catalogue import read_catalogue


class NoParams(BaseModel):
    """A step that does nothing takes nothing."""


async def nothing(call: StepCall, app: App) -> Any:
    """Do nothing."""
    return None


@asynccontextmanager
async def running_node(url: str) -> AsyncIterator[App]:
    """Run a node that serves everything on a database, within the block."""
    known, effect = Library.forms.fget, StepRuns.effect
    form, kind = StepForm("bench.nothing", "Nothing", NoParams), StepType("bench.nothing", nothing)
    Library.forms = property(lambda one: {**known(one), form.type: form})  # type: ignore[assignment]
    StepRuns.effect = lambda one, name: kind if name == kind.name else effect(one, name)  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(
            {
                "NOCOHOST_DATA_DIR": folder,
                "NOCOHOST_DATABASE__URL": url,
                "NOCOHOST_HTTP__PORT": "0",
                "NOCOHOST_ADMIN__PORT": "0",
                "NOCOHOST_ADMIN_TOKEN": "nch_bench_" + "x" * 40,
                "NOCOHOST_LOG__LEVEL": "warning",
                "WORKER_MODE": "workflow:process",
            }
        ).settings
        catalogue = read_catalogue()
        mode = read_mode(settings, catalogue.declared_keys).mode
        log = make_log(sys.stderr, level=settings.log.level)
        running = RunningNode(build_node(settings, catalogue, mode, clock=SystemClock(), log=log), leave=sys.exit)
        await running.start()
        try:
            yield running.parts.app
        finally:
            await running.stop()
            Library.forms, StepRuns.effect = property(known), effect  # type: ignore[assignment, method-assign]
            Path(folder).mkdir(exist_ok=True)
