"""Records, and the ways in which they change."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

Record = Mapping[str, Any]
"""One record: the values of its fields by name, as Python has them; ``Resource.show`` makes JSON of it."""
Change = Literal["create", "update", "delete"]
CHANGES: Sequence[Change] = ("create", "update", "delete")
