"""Driver errors become errors of nocohost here, and nowhere else."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from nocohost.api.errors import (
    ConfigError,
    NocohostError,
    StoreConflictError,
    StoreError,
    StoreUnavailableError,
    TransactionExpiredError,
)

CONFLICTS = frozenset({"40001", "40P01"})
"""PostgreSQL: serialization failure, deadlock."""
EXPIRED = frozenset({"25P03", "25P04"})
"""PostgreSQL: idle-in-transaction timeout, transaction timeout."""
UNAVAILABLE = ("08", "53", "57P", "57014", "55P03", "25006")
"""PostgreSQL: connection, resources (disk full, too many connections), shutdown, statement timeout, lock timeout,
read-only standby."""
REFUSED: Mapping[str, str] = {
    "28": "user or password is refused",
    "3D000": "the database does not exist",
    "42501": "a right is missing",
}
SQLITE_UNAVAILABLE = ("locked", "busy", "disk is full", "readonly database", "unable to open", "disk i/o error")
REFUSED_TEXT = re.compile(
    r"password authentication failed|no password supplied|does not exist|no pg_hba|does not support SSL|"
    r"invalid connection option|invalid \w+ value|bad value for",
    re.IGNORECASE,
)

READ_ONLY = re.compile(r"attempt to write a readonly database|in a read-only transaction")


@contextmanager
def translated(what: str = "", *, reading: bool = False) -> Iterator[None]:
    """Raise the errors of SQLAlchemy and its drivers as ``StoreError``; ``what`` names the database.

    On a connection for ``reading`` a refused write is a mistake of its author, elsewhere a state of the database.
    Every other error passes: a timeout inside the block is its author's, not the database's.
    """
    try:
        yield
    except SQLAlchemyError as error:
        if reading and isinstance(error, DBAPIError) and READ_ONLY.search(str(error.orig)):
            raise StoreError("a write through database.connect()", hint="write through database.begin()") from error
        raise translate(error, what) from error


def translate(error: SQLAlchemyError, what: str = "") -> NocohostError:
    """Return the error of nocohost that says what ``error`` says. Never shows parameters or passwords."""
    if isinstance(error, PoolTimeoutError):
        return StoreUnavailableError(
            "every database connection of this node is busy", hint="raise NOCOHOST_DATABASE__POOL_SIZE"
        )
    if not isinstance(error, DBAPIError):
        # The whole text of a StatementError holds the parameters.
        cause = error.orig if isinstance(error, StatementError) else None
        return StoreError(str(cause or (error.args or [type(error).__name__])[0]))
    original = error.orig
    text = str(original).strip().splitlines()[0] if str(original).strip() else type(original).__name__
    if isinstance(error, IntegrityError):
        return StoreConflictError(text)
    state = getattr(original, "sqlstate", None) or ""
    if state in EXPIRED:
        return TransactionExpiredError(text, hint="keep write transactions short; do slow work before them")
    if state in CONFLICTS:
        conflict = StoreConflictError(text)
        conflict.retryable = True
        return conflict
    for prefix, sentence in REFUSED.items():
        if state.startswith(prefix):
            return ConfigError(f"the database {what} refuses: {sentence} ({text})", hint="check NOCOHOST_DATABASE__URL")
    if type(original).__module__.startswith("psycopg"):
        return _translate_postgresql(error, state, text, what)
    return _translate_sqlite(text, what)


def _translate_postgresql(error: DBAPIError, state: str, text: str, what: str) -> NocohostError:
    if not state and REFUSED_TEXT.search(str(error.orig)):
        return ConfigError(f"the database {what} refuses: {text}", hint="check NOCOHOST_DATABASE__URL")
    if error.connection_invalidated or state.startswith(UNAVAILABLE) or (not state and "connect" in text.lower()):
        return StoreUnavailableError(f"the database {what} is away: {text}")
    if not state and type(error.orig).__name__ == "OperationalError":
        return StoreUnavailableError(f"the database {what} is away: {text}")
    # PostgreSQL quotes a value that it cannot read.
    return StoreError(text.partition('"')[0] + "…" if state.startswith("22") else text)


def _translate_sqlite(text: str, what: str) -> NocohostError:
    lowered = text.lower()
    if "attempt to write a readonly database" in lowered:
        return StoreUnavailableError(f"the database {what} cannot be written: {text}", hint="check who owns the file")
    if any(part in lowered for part in SQLITE_UNAVAILABLE):
        return StoreUnavailableError(f"the database {what} is away: {text}")
    if "malformed" in lowered or "not a database" in lowered:
        return ConfigError(f"the file {what} is no SQLite database or damaged: {text}", hint="restore it from a backup")
    return StoreError(text)
