"""Exceptions as text, those included that Python itself fails to print."""

from traceback import format_exception, format_exception_only
from types import TracebackType


def error_text(error: BaseException) -> str:
    """Return what an exception says; of one that cannot be printed, such as a ``SyntaxError`` at no place, its type."""
    try:
        return "".join(format_exception_only(error)).strip()
    except (AttributeError, TypeError, ValueError):
        return f"{type(error).__name__}, which cannot be printed"


def error_trace(error: BaseException, start: TracebackType | None) -> str:
    """Return an exception with its traceback from ``start`` on; what it says alone, if it cannot be printed."""
    try:
        return "".join(format_exception(type(error), error, start))
    except (AttributeError, TypeError, ValueError):
        return error_text(error)
