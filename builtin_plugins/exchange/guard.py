"""Texts that a spreadsheet would take for a formula when it opens a CSV, and what is put before them."""

DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a formula may begin with, in full width too."""
QUOTE = "'"


def guarded(text: str) -> str:
    """Return the text as one that no spreadsheet runs."""
    return QUOTE + text if text.startswith(DANGEROUS) else text
