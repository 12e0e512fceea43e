"""What every node must know of files in and out: the forms of their tasks."""

from builtin_plugins.async_task import TaskForm
from builtin_plugins.exchange.export_form import ExportParams
from builtin_plugins.exchange.export_form import permissions_of as reads_of
from builtin_plugins.exchange.import_form import ImportParams, permissions_of
from nocohost import hookimpl


@hookimpl
def register_task_forms() -> list[TaskForm]:
    """Declare what an import and an export take."""
    return [
        TaskForm(
            "import",
            "Import",
            ImportParams,
            needs_file=True,
            permissions_of=permissions_of,
            description="the rows of a CSV, XLSX or JSON Lines file into a resource",
        ),
        TaskForm(
            "export",
            "Export",
            ExportParams,
            permissions_of=reads_of,
            description="the records of a resource as a CSV, XLSX, JSON Lines or Parquet file",
        ),
    ]
