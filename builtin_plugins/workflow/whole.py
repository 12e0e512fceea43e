"""An execution as a whole: what is stored, what it passed over, and what keeps it waiting."""

from builtin_plugins.workflow.errors import DefinitionError, WorkflowNotFoundError
from builtin_plugins.workflow.execution_desk import ExecutionDesk, Shown
from builtin_plugins.workflow.library import Library
from builtin_plugins.workflow.skipped import with_skipped
from nocohost import App


async def whole(app: App, library: Library, execution: str) -> Shown:
    """Return an execution, its steps, and those that it passed over as far as its definition can be read."""
    shown = await ExecutionDesk(app, library).show(execution)
    try:
        async with app.database.connect() as connection:
            _, index = await library.find(connection, shown.row.workflow, shown.row.version)
    except (DefinitionError, WorkflowNotFoundError):
        return shown
    return Shown(shown.row, with_skipped(shown.steps, index), shown.warnings)
