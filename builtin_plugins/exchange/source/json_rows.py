"""JSON Lines: one object a line. Its columns are the names that the first thousand objects have."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, BinaryIO

from builtin_plugins.exchange.errors import FileRefusedError
from builtin_plugins.exchange.source.batch import MAX_COLUMNS, Batch, Misfit, take
from builtin_plugins.exchange.source.encoding import Encoding
from builtin_plugins.exchange.source.lines import lines_of

LOOKED_AT = 1000


class JsonSource:
    """Implements ``Source``; rows are counted by their lines, the first being 1. Values are what JSON made of them."""

    def __init__(self, file: BinaryIO, encoding: Encoding) -> None:
        self._file = file
        self._encoding = encoding
        self.header = 0
        self.total = encoding.lines
        self.facts: Mapping[str, Any] = {"format": "jsonl", **encoding.facts}
        names: dict[str, None] = {}
        seen = False
        for line in islice(self._lines(), LOOKED_AT):
            seen = seen or bool(line.strip())
            found, _ = read_object(line)
            names.update(dict.fromkeys(found or ()))
            if len(names) > MAX_COLUMNS:
                break
        if not seen:
            raise FileRefusedError("the file is empty", hint="it has one JSON object a line")
        if not names:
            raise FileRefusedError(f"none of the first {LOOKED_AT} lines is a JSON object", hint='such as {"id": 1}')
        self.titles: Sequence[str] = tuple(names)

    def batches(self, size: int, after: int) -> Iterator[Batch]:
        """Yield the rows after line ``after``."""
        titles, known = self.titles, frozenset(self.titles)
        lines = self._lines()
        next(islice(lines, after, after), None)  # which leaves them out
        number = after
        while some := take(lines, size, self._file.tell, []):
            batch = Batch([], [], last=number + len(some))
            numbers: list[int] = []
            rows: list[Sequence[Any]] = []
            for line in some:
                number += 1
                if line.isspace():
                    continue
                found, fault = read_object(line)
                if found is None:
                    batch.misfits.append(Misfit(number, "", line[:100].strip(), fault))
                elif not known.issuperset(found):
                    strange = next(name for name in found if name not in known)
                    batch.misfits.append(Misfit(number, strange, "", f"is a name that no earlier line has, {HINT}"))
                else:
                    numbers.append(number)
                    rows.append([found.get(title) for title in titles])
            batch.numbers, batch.rows = numbers, rows
            yield batch

    def _lines(self) -> Iterator[str]:
        return lines_of(self._file, self._encoding, universal=False)


HINT = f"of the first {LOOKED_AT}"


def read_object(line: str) -> tuple[dict[str, Any] | None, str]:
    """Return the object of a line, or None and what is wrong with it."""
    try:
        found = DECODER.decode(line)
    except RecursionError:
        return None, "is nested too deeply"
    except ValueError as error:
        return None, f"is no JSON: {str(error)[:100]}"
    return (found, "") if isinstance(found, dict) else (None, "is no JSON object")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not in JSON")


DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_refuse)
