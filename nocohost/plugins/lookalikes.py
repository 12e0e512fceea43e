"""Distributions that look like plugins and offer nothing: installed, and never seen by any node."""

import re
import sys
from collections.abc import Sequence
from importlib.metadata import distributions

REQUIRES = re.compile(r"nocohost(?![\w.-])", re.IGNORECASE)
"""The beginning of a requirement on nocohost itself."""


def lookalikes(path: Sequence[str] | None = None) -> list[str]:
    """Return distributions on ``path`` (``sys.path`` when None) that should have an entry point of ours and have none.

    Those are called ``nocohost-...``, or require nocohost. Metadata that cannot be read is passed over.
    """
    found = set()
    for distribution in distributions(path=list(sys.path if path is None else path)):
        try:
            if "[nocohost" in (distribution.read_text("entry_points.txt") or ""):
                continue
            name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"] or "").lower()
            requires = distribution.requires or ()
        except (OSError, TypeError, ValueError):
            continue
        if name == "nocohost" or not name:
            continue
        if name.startswith("nocohost-") or any(REQUIRES.match(one) and "extra ==" not in one for one in requires):
            found.add(name)
    return sorted(found)
