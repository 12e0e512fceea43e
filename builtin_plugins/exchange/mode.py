"""What an import does with a row whose record is there already."""

from enum import StrEnum


class Mode(StrEnum):
    """What an import does with a row."""

    INSERT = "insert"
    """Create a record; one that is there already is a misfit."""
    SKIP = "skip"
    """Create a record unless one has its key."""
    UPDATE = "update"
    """Change the record that has its key, if there is one."""
    UPSERT = "upsert"
    """Change the record that has its key, or create it."""
