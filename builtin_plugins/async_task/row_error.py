"""What is wrong with one row of a file: kept with the task, and given out as CSV."""

from dataclasses import dataclass

VALUE_LETTERS = 500
REASON_LETTERS = 500


@dataclass(frozen=True, slots=True)
class RowError:
    """One value of one row that was not taken. ``row`` counts as a spreadsheet does, the header being row 1."""

    row: int
    field: str
    value: str
    reason: str

    def shortened(self) -> "RowError":
        """Return it as it is stored: texts of bounded length, without what no database keeps."""
        return RowError(
            self.row,
            _storable(self.field, VALUE_LETTERS),
            _storable(self.value, VALUE_LETTERS),
            _storable(self.reason, REASON_LETTERS),
        )


def _storable(text: str, letters: int) -> str:
    clean = text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode("utf-8")
    return clean if len(clean) <= letters else clean[: letters - 1] + "\N{HORIZONTAL ELLIPSIS}"
