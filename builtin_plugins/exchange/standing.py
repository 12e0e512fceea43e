"""How far an import is: what its checkpoint holds, saved in the transaction of the rows it tells of."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from builtin_plugins.exchange.source.batch import Misfit
from builtin_plugins.exchange.writing.chunk import Counts


@dataclass(slots=True)
class Standing:
    """What an attempt has done, and the next one does not do again."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    """What was found out of the file."""
    checked: int = 0
    """The last row that was looked at before anything was written."""
    is_checked: bool = False
    row: int = 0
    """The last row that was written, or refused."""
    counts: Counts = field(default_factory=Counts)
    wrong: int = 0
    """Rows found not to fit while the file was checked."""
    errors: int = 0
    """Row errors of what is done; those that came after are found again."""

    @classmethod
    def of(cls, checkpoint: Any) -> "Standing":
        """Return the standing that a checkpoint holds; the first one without a checkpoint."""
        if not checkpoint:
            return cls()
        return cls(**{**checkpoint, "counts": Counts(**checkpoint["counts"])})

    def as_json(self) -> dict[str, Any]:
        """Return it for a checkpoint."""
        return asdict(self)


def rows_of(misfits: Sequence[Misfit]) -> int:
    """Return how many rows some misfits are about."""
    return len({misfit.row for misfit in misfits})
