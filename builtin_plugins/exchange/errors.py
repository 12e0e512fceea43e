"""What can be wrong with a file as a whole, with how its import is asked for, and with its rows."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nocohost import NocohostError

if TYPE_CHECKING:
    from builtin_plugins.exchange.source.batch import Misfit


class FileRefusedError(NocohostError):
    """The file cannot be imported: it is no such file, damaged, too large, or not what the params say."""

    code = "exchange.file"


class ImportRefusedError(NocohostError):
    """The params of an import do not fit the resource, or its file."""

    code = "exchange.import"


class RowsRefusedError(NocohostError):
    """Rows do not fit, and the import is to stop then."""

    code = "exchange.rows"

    def __init__(self, misfits: "Sequence[Misfit]", what_now: str) -> None:
        first = misfits[0]
        where = f"row {first.row}{f', {first.field}' if first.field else ''}: {first.reason}"
        super().__init__(f"{where}; {what_now}", hint="the row errors of the task name every value that does not fit")
        self.misfits = misfits
