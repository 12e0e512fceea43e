"""What every node must know of files in and out: the forms of their tasks."""

from builtin_plugins.async_task import TaskForm
from builtin_plugins.exchange.import_form import ImportParams, permissions_of
from nocohost import hookimpl


@hookimpl
def register_task_forms() -> list[TaskForm]:
    """Declare what an import takes."""
    return [
        TaskForm(
            "import",
            "Import",
            ImportParams,
            needs_file=True,
            permissions_of=permissions_of,
            description="the rows of a CSV, XLSX or JSON Lines file into a resource",
        )
    ]
