"""Every error nocohost raises on purpose, under one base.

An error carries a stable ``code``, a ``message`` (what is wrong, and where) and a ``hint`` (what to do about it).
Six families say who is told: the operator (``ConfigError``), the log, because a guest is at fault (``PluginError``),
the caller of the queue (``QueueError``), of a resource (``ResourceError``) or of the stored files (``StorageError``),
or whoever asked the database (``StoreError``).
"""

from collections.abc import Sequence


class NocohostError(Exception):
    """An error nocohost raises on purpose."""

    code = "nocohost.error"

    def __init__(self, message: str = "", *, hint: str = "", code: str = "") -> None:
        self.message = message or (type(self).__doc__ or "").splitlines()[0]
        self.hint = hint
        self.code = code or type(self).code
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def as_dict(self) -> dict[str, str]:
        """Return the error as the JSON object that the command line and the API show."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


class ConfigError(NocohostError):
    """The configuration is wrong; the node must not start (exit 2)."""

    code = "config.invalid"


class WorkerModeError(ConfigError):
    """The worker mode is refused."""

    code = "mode.malformed_term"

    def __init__(
        self, message: str, *, hint: str = "", code: str = "", term: str = "", position: int = 0, suggestion: str = ""
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        self.term = term
        self.position = position
        """Where the term starts in the string, counted in characters from 1."""
        self.suggestion = suggestion


class SettingError(ConfigError):
    """One or more settings are wrong; ``faults`` lists every one of them."""

    code = "config.setting"

    def __init__(self, message: str, *, hint: str = "", code: str = "", faults: Sequence[str] = ()) -> None:
        super().__init__(message, hint=hint, code=code)
        self.faults = tuple(faults)


class PluginError(NocohostError):
    """A plugin is at fault; it is quarantined and the node goes on."""

    code = "plugin.error"


class PluginLoadError(PluginError):
    """An entry point could not be imported."""

    code = "plugin.load"


class PluginContractError(PluginError):
    """A plugin breaks the contract of a hook."""

    code = "plugin.contract"


class PluginDisabledError(PluginError):
    """An entry point needs something that is not installed."""

    code = "plugin.disabled"


class DuplicateServiceError(PluginError):
    """Two distributions offer the same service key."""

    code = "plugin.duplicate_service"


class RequiredServiceError(PluginError):
    """A service that its plugin calls required cannot run on a node whose mode asks for it (exit 70)."""

    code = "plugin.required"


class AppNotOpenError(PluginError):
    """The part of the app that was asked for works from ``node_lifespan`` on, not while hooks register."""

    code = "plugin.app_not_open"


class QueueError(NocohostError):
    """The queue refuses a request; its caller is told."""

    code = "queue.error"


class UnknownKeyError(QueueError):
    """No installed plugin declares this service key."""

    code = "queue.unknown_key"


class PayloadError(QueueError):
    """The payload does not fit the job type; ``faults`` says where."""

    code = "queue.payload"

    def __init__(self, message: str, *, hint: str = "", code: str = "", faults: Sequence[str] = ()) -> None:
        super().__init__(message, hint=hint, code=code)
        self.faults = tuple(faults)


class PayloadTooLargeError(QueueError):
    """The payload is larger than the queue accepts."""

    code = "queue.payload_too_large"


class JobNotFoundError(QueueError):
    """There is no job with this id."""

    code = "queue.job_not_found"


class ScheduleNotFoundError(QueueError):
    """There is no schedule with this name."""

    code = "queue.schedule_not_found"


class JobConflictError(QueueError):
    """The request contradicts what is already there."""

    code = "queue.conflict"


class NodeNotFoundError(QueueError):
    """There is no node of this id or name."""

    code = "node.not_found"


class NodeConflictError(QueueError):
    """The node is not in a state to do that, or more than one fits its name."""

    code = "node.conflict"


class FenceLostError(QueueError):
    """The attempt no longer holds its job; nothing was written."""

    code = "queue.fence_lost"


class AttemptCancelledError(QueueError):
    """The attempt has been cancelled; its handler should end now."""

    code = "queue.attempt_cancelled"


class HandlerRaisedError(QueueError):
    """A handler that runs elsewhere raised an exception; the message is its text."""

    code = "queue.handler_raised"

    def __init__(self, message: str, *, hint: str = "", code: str = "", trace: str = "") -> None:
        super().__init__(message, hint=hint, code=code)
        self.trace = trace
        """The traceback of the exception, from the handler's first frame on."""


class ChildCrashedError(QueueError):
    """The process of a handler died under it, while the node that started it lived."""

    code = "queue.child_crashed"

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        code: str = "",
        exit_code: int | None = None,
        signal: int | None = None,
        stderr_tail: str = "",
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        self.exit_code = exit_code
        """What it exited with; None when a signal killed it."""
        self.signal = signal
        """The number of the signal that killed it; None when it exited."""
        self.stderr_tail = stderr_tail
        """The last lines that it wrote to stderr."""


class LockTimeoutError(QueueError):
    """The lock was not free within the time that its caller would wait."""

    code = "lock.timeout"


class LockLostError(QueueError):
    """The lease of a lock could not be renewed; somebody else may hold the lock now."""

    code = "lock.lost"


class UnservedError(QueueError):
    """No live node serves the key, and the policy is to refuse such jobs."""

    code = "queue.unserved"


class ResourceError(NocohostError):
    """A resource cannot be read or written as asked; ``faults`` lists everything that is wrong, by field."""

    code = "resource.error"

    def __init__(self, message: str, *, hint: str = "", code: str = "", faults: Sequence[str] = ()) -> None:
        super().__init__(message, hint=hint, code=code)
        self.faults = tuple(faults)


class ResourceNotFoundError(ResourceError):
    """No installed plugin declares this resource."""

    code = "resource.unknown"


class RecordNotFoundError(ResourceError):
    """The resource has no record with this key."""

    code = "resource.record_not_found"


class ResourceQueryError(ResourceError):
    """The filter, sort, fields or cursor cannot be understood."""

    code = "resource.query"


class RecordValuesError(ResourceError):
    """The values do not fit the fields of the resource."""

    code = "resource.values"


class RecordConflictError(ResourceError):
    """The values contradict other records: a key is taken, or what is referred to is not there."""

    code = "resource.conflict"


class StorageError(NocohostError):
    """A stored file cannot be read or written as asked."""

    code = "storage.error"


class StoredFileNotFoundError(StorageError):
    """There is no stored file with this id."""

    code = "storage.file_not_found"


class FileTooLargeError(StorageError):
    """The file is larger than may be stored."""

    code = "storage.too_large"


class StorageUnavailableError(StorageError):
    """What holds the files cannot be reached, or has no room left."""

    code = "storage.unavailable"


class StoreError(NocohostError):
    """The database refuses; ``retryable`` says whether trying again can help."""

    code = "store.error"
    retryable = False


class StoreUnavailableError(StoreError):
    """The database cannot be reached or cannot write now."""

    code = "store.unavailable"
    retryable = True
    unsure = False
    """True when the connection broke under a write: it may have been carried out."""


class StoreConflictError(StoreError):
    """Two transactions met, which is worth another try, or a constraint holds; nothing was carried out."""

    code = "store.conflict"


class TransactionExpiredError(StoreError):
    """A write transaction stayed open too long and was rolled back."""

    code = "store.transaction_expired"


class NestedWriteError(StoreError):
    """The task already holds the write transaction it would wait for."""

    code = "store.nested_write"


class SchemaVersionError(StoreError):
    """The database schema and this code do not fit together."""

    code = "store.schema_version"
