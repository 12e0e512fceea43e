"""The kind ``import``: a file's rows into a resource, chunk by chunk, each there with where to go on, or not at all."""

import gc
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING

from builtin_plugins.async_task import BlockingTask, RowError, TaskFailedError, TaskKind, TaskResult
from builtin_plugins.exchange.ahead import ahead
from builtin_plugins.exchange.compiling import Machine, compile_import
from builtin_plugins.exchange.errors import FileRefusedError, ImportRefusedError, RowsRefusedError
from builtin_plugins.exchange.import_form import ImportParams
from builtin_plugins.exchange.source.batch import Batch, Misfit, Source
from builtin_plugins.exchange.source.opening import open_source
from builtin_plugins.exchange.standing import Standing, rows_of
from builtin_plugins.exchange.writing.chunk import Chunk
from nocohost import App, hookimpl

if TYPE_CHECKING:
    from nocohost import BlockingApp

MEMORY_MIB = 1024
"""A workbook is held in memory by its parser; text is not."""
TIMEOUT_SECONDS = 6 * 3600.0


@hookimpl
def register_task_kinds(app: App) -> list[TaskKind]:
    """Offer the kind ``import``."""
    return [TaskKind("import", run, memory_mib=MEMORY_MIB, timeout_seconds=TIMEOUT_SECONDS)]


def run(task: BlockingTask, app: "BlockingApp") -> TaskResult:
    """Import the file of ``task``; what can never succeed is a ``TaskFailedError``."""
    gc.freeze()  # what is loaded stays: looking through it again and again takes as long as converting the rows
    params: ImportParams = task.params
    resource = app.resources.declared.get(params.resource)
    if resource is None or task.upload is None:
        raise TaskFailedError(f"nobody declares {params.resource} any more" if resource is None else "there is no file")
    standing = Standing.of(task.checkpoint)
    if task.row_errors > standing.errors:
        task.cut_row_errors(standing.errors)
    try:
        with app.storage.open(task.upload) as file:
            source = open_source(file, params.layout, standing.facts or None)
            standing.facts = dict(source.facts)
            machine = compile_import(params, source, resource, app)
            return Import(task, params, source, machine, standing).run()
    except RowsRefusedError as error:
        with task.transaction():
            task.add_row_errors(map(_row_error, error.misfits))
        raise _failed(error) from error
    except (FileRefusedError, ImportRefusedError) as error:
        raise _failed(error) from error


class Import:
    """One attempt at one import."""

    def __init__(
        self, task: BlockingTask, params: ImportParams, source: Source, machine: Machine, standing: Standing
    ) -> None:
        self._task = task
        self._params = params
        self._source = source
        self._machine = machine
        self._standing = standing
        self._stops = params.on_error == "stop"

    def run(self) -> TaskResult:
        """Check what is to be checked first, then write what is to be written."""
        params, standing = self._params, self._standing
        if (params.dry_run or (self._stops and params.check_first)) and not standing.is_checked:
            self._check()
        if not params.dry_run:
            self._write()
        hidden = ("skip", "lines")
        return TaskResult(
            value={
                **asdict(standing.counts),
                "dry_run": params.dry_run,
                "file": {name: value for name, value in standing.facts.items() if name not in hidden},
                "ignored": list(self._machine.ignored),
            }
        )

    def _check(self) -> None:
        """Convert every row and write none; a file that does not fit is known for all that is wrong with it."""
        standing, params = self._standing, self._params
        for batch, chunk, misfits in self._converted(standing.checked):
            standing.checked = batch.last
            standing.wrong += rows_of(misfits)
            if params.dry_run:
                standing.counts.fitting += len(chunk)
                standing.counts.refused = standing.wrong
            if misfits:
                with self._task.transaction():
                    standing.errors = self._task.add_row_errors(map(_row_error, misfits))
                    self._task.save_checkpoint(standing.as_json())
            self._tell(batch, "rows checked")
            if standing.wrong > params.max_errors:
                self._check_anew()
                raise _too_many(params.max_errors, batch.last, "nothing is imported")
        if standing.wrong and not params.dry_run:
            self._check_anew()
            raise _too_many(standing.wrong - 1, standing.checked, "nothing is imported", all_read=True)
        standing.is_checked = True
        with self._task.transaction():
            self._task.save_checkpoint(standing.as_json())
        self._tell_all(standing.checked, "rows checked")

    def _check_anew(self) -> None:
        """Let a retry check every row again: whoever asks for it has mended something."""
        with self._task.transaction():
            self._task.save_checkpoint(None)

    def _write(self) -> None:
        standing = self._standing
        with closing(ahead(self._converted(standing.row))) as chunks:
            for batch, chunk, misfits in chunks:
                self._write_chunk(batch, chunk, misfits)
        self._tell_all(self._standing.row, "rows")

    def _write_chunk(self, batch: Batch, chunk: Chunk, misfits: list[Misfit]) -> None:
        """Write what fits of a chunk, what does not, and where to go on, in one transaction."""
        standing, params = self._standing, self._params
        if misfits and self._stops:
            raise RowsRefusedError(misfits, self._what_now())
        room = 0 if self._stops else params.max_errors - standing.counts.refused - rows_of(misfits)
        with self._task.transaction() as connection:
            counts, refused = self._machine.write(connection, chunk, room)
            if refused and self._stops:
                raise RowsRefusedError(refused, self._what_now())  # takes the chunk back
            counts.refused += rows_of(misfits)
            if standing.counts.refused + counts.refused > params.max_errors:
                raise RowsRefusedError([*misfits, *refused], self._what_now())
            if counts.created:
                self._machine.writer.count_on(connection)
            standing.counts.add(counts)
            standing.row = batch.last
            if misfits or refused:
                standing.errors = self._task.add_row_errors(map(_row_error, sorted([*misfits, *refused])))
            self._task.save_checkpoint(standing.as_json())
        self._tell(batch, "rows")

    def _converted(self, done: int) -> Iterator[tuple[Batch, Chunk, list[Misfit]]]:
        for batch in self._source.batches(self._machine.chunk_rows, max(done, self._params.after_row)):
            yield batch, *self._machine.convert(batch)

    def _tell(self, batch: Batch, unit: str) -> None:
        done = batch.last - self._source.header
        self._task.progress(done, max(done, self._source.total or 0), unit)

    def _tell_all(self, row: int, unit: str) -> None:
        """Tell that ``row`` was the last: until then the total was only about right."""
        done = max(row - self._source.header, 0)
        self._task.progress(done, done, unit)

    def _what_now(self) -> str:
        row = self._standing.row
        if not row:
            return "nothing is imported"
        return f"what is above row {row + 1} is imported; mend it and go on with after_row={row}"


def _row_error(misfit: Misfit) -> RowError:
    return RowError(misfit.row, misfit.field, misfit.value, misfit.reason)


def _too_many(most: int, row: int, what_now: str, *, all_read: bool = False) -> TaskFailedError:
    rows = "1 row does not fit" if all_read and most == 0 else f"{most + 1} rows do not fit"
    said = rows if all_read else f"more than {most} rows do not fit, up to row {row}"
    return TaskFailedError(
        f"{said}; {what_now}",
        code="exchange.rows",
        hint="the row errors of the task name every value that does not fit",
    )


def _failed(error: FileRefusedError | ImportRefusedError | RowsRefusedError) -> TaskFailedError:
    return TaskFailedError(str(error.args[0]), hint=error.hint, code=error.code)
