"""What tests of workflows on a running node share: importing, starting, waiting for the end."""

import asyncio

from builtin_plugins.workflow.execution_desk import ExecutionDesk
from builtin_plugins.workflow.library import Library
from builtin_plugins.workflow.workflow_desk import WorkflowDesk


class Flows:
    """The workflows of a node under test."""

    def __init__(self, running) -> None:
        self.running = running
        self.app = running.app
        self.library = Library(self.app)
        self.desk = ExecutionDesk(self.app, self.library)
        self.workflows = WorkflowDesk(self.app, self.library)

    async def save(self, steps, *, name="flow", trigger=None, **more):
        definition = {"version": 1, "name": name, "trigger": trigger or {"type": "api"}, "steps": steps, **more}
        return await self.workflows.store(definition, "tester", enable=True)

    async def start(self, value=None, *, name="flow", **more):
        return (await self.desk.start(name, value, "tester", **more)).id

    async def run(self, steps, value=None, *, name="flow", seconds=60.0, **more):
        """Save, start and wait; return the execution as it stands then, and its steps by path and iteration."""
        await self.save(steps, name=name, **more)
        return await self.ended(await self.start(value, name=name), seconds=seconds)

    async def until(self, execution, *states, seconds=60.0):
        async with asyncio.timeout(seconds):
            while True:
                shown = await self.desk.show(execution)
                if shown.row.state in states:
                    return shown.row, {row.place: row for row in shown.steps}
                await asyncio.sleep(0.02)

    async def ended(self, execution, *, seconds=60.0):
        return await self.until(execution, "succeeded", "failed", "cancelled", "timed_out", seconds=seconds)


def calculate(key, value, **more):
    return {"key": key, "type": "calculate", "value": value, **more}
