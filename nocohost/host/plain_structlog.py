"""structlog, without the pretty printers that it takes along wherever they are installed.

They cost every node five mebibytes and the time to import them, and what they would print of an exception, the values
of its variables, has no place in a log.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

PRINTERS = ("rich", "better_exceptions")


@contextmanager
def _hidden(names: tuple[str, ...]) -> Iterator[None]:
    """Let an import within the block find none of the packages that are not yet imported."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type] # None is how Python is told "not there"
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


if TYPE_CHECKING:
    import structlog as structlog
else:
    with _hidden(PRINTERS):
        import structlog as structlog
