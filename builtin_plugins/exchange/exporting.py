"""The kind ``export``: the records of a resource as a file, all of one moment, in memory that does not grow."""

import gc
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, select, text

from builtin_plugins.async_task import BlockingTask, TaskFailedError, TaskKind, TaskResult
from builtin_plugins.exchange.export_form import ExportParams
from builtin_plugins.exchange.output.csv_copy import copy_csv, is_stored_as_shown
from builtin_plugins.exchange.output.csv_rows import write_csv
from builtin_plugins.exchange.output.failure import ExportFailedError
from builtin_plugins.exchange.output.json_rows import write_json
from builtin_plugins.exchange.output.parquet_rows import write_parquet
from builtin_plugins.exchange.output.sheet import Batch, Output, Sheet
from builtin_plugins.exchange.output.xlsx_rows import write_xlsx
from builtin_plugins.exchange.selection import select_columns, statement_of
from nocohost import App, ResourceError, hookimpl

if TYPE_CHECKING:
    from nocohost import BlockingApp

MEMORY_MIB = 512
TIMEOUT_SECONDS = 6 * 3600.0
OUTPUTS: Mapping[str, Output] = {"csv": write_csv, "xlsx": write_xlsx, "jsonl": write_json, "parquet": write_parquet}
MEDIA_TYPES: Mapping[str, str] = {
    "csv": "text/csv",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "jsonl": "application/jsonl",
    "parquet": "application/vnd.apache.parquet",
}


@hookimpl
def register_task_kinds(app: App) -> list[TaskKind]:
    """Offer the kind ``export``."""
    return [TaskKind("export", run, memory_mib=MEMORY_MIB, timeout_seconds=TIMEOUT_SECONDS)]


def run(task: BlockingTask, app: "BlockingApp") -> TaskResult:
    """Export the records that the params of ``task`` name; what can never succeed is a ``TaskFailedError``.

    Whether its owner may read them was asked when the task was made.
    """
    gc.freeze()  # as in an import
    params: ExportParams = task.params
    try:
        sheet = sheet_of(params, app)
        with (
            app.storage.create(
                name=_file_name(sheet, app), media_type=MEDIA_TYPES[params.format], owner=task.owner
            ) as file,
            one_moment(app) as connection,
        ):
            told = Export(task, app, sheet, connection).write(file)
    except (ExportFailedError, ResourceError, ValueError) as error:
        raise TaskFailedError(str(error)) from error
    return TaskResult(file=file.stored.id, value=told)


def sheet_of(params: ExportParams, app: "BlockingApp") -> Sheet:
    """Return what is to be written; raises ``ValueError`` and ``ResourceError`` for what is declared no longer."""
    declared = app.resources.declared
    resource = declared.get(params.resource)
    if resource is None:
        raise ExportFailedError(f"nobody declares {params.resource} any more")
    columns = select_columns(resource, declared, params.fields, params.titles)
    statement = statement_of(app, resource, columns, params.filter, params.sort)
    return Sheet(params, columns, statement, resource.title or resource.name)


@contextmanager
def one_moment(app: "BlockingApp") -> Iterator[Connection]:
    """Open a connection whose every statement sees the database as it is now, for as long as it takes."""
    with app.database.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection = connection.execution_options(isolation_level="REPEATABLE READ")  # noqa: PLW2901
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        yield connection


class Export:
    """One attempt at one export."""

    def __init__(self, task: BlockingTask, app: "BlockingApp", sheet: Sheet, connection: Connection) -> None:
        self._task = task
        self._app = app
        self._sheet = sheet
        self._connection = connection
        self._done = 0
        self._total = 0

    def write(self, file: Any) -> dict[str, Any]:
        """Write the file, and return what is worth telling about it."""
        counted = self._sheet.statement.order_by(None).subquery()
        self._total = self._connection.scalar(select(func.count()).select_from(counted)) or 0
        self._task.progress(0, self._total, "rows")
        copies = self._sheet.params.format == "csv" and self._connection.dialect.name == "postgresql"
        if copies and is_stored_as_shown(self._sheet):
            told = {}
            copy_csv(self._sheet, file, self._connection, self._passed)
        else:
            with closing(self._sheet.batches(self._app, self._connection)) as batches:
                told = OUTPUTS[self._sheet.params.format](self._sheet, file, self._counted(batches))
        self._task.progress(self._done, self._total, "rows")
        return {"rows": self._done, **told}

    def _counted(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        for batch in batches:
            yield batch
            self._passed(len(batch))

    def _passed(self, rows: int) -> None:
        self._done += rows
        self._task.progress(self._done, max(self._total, self._done), "rows")


def _file_name(sheet: Sheet, app: "BlockingApp") -> str:
    moment = app.clock.now().astimezone(UTC)
    return f"{sheet.params.resource}-{moment:%Y%m%d-%H%M%S}.{sheet.params.format}"
