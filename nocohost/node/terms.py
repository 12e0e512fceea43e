"""The terms of a worker mode: split at commas, checked one by one, explained when they are malformed."""

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass

from nocohost.api.errors import WorkerModeError
from nocohost.api.keys import KEY, nearest

TERM = re.compile(rf"!|\*|-?(?:{KEY.pattern}|[a-z][a-z0-9-]*:\*)")
"""The grammar of one term; ``-`` alone is a mode, not a term."""
BLANKS = " \t"
LONGEST_MODE = 16_384
"""Characters of a worker mode; the modes of real fleets have a few hundred."""
SHOWN = 60
"""Characters of a term or mode that a message repeats."""


@dataclass(frozen=True, slots=True)
class Term:
    """One well-formed term and where it starts, counted in characters from 1."""

    text: str
    position: int

    @property
    def is_exclusion(self) -> bool:
        """Tell whether the term takes something away."""
        return self.text.startswith("-")

    @property
    def name(self) -> str:
        """Return what the term serves or takes away: ``!``, ``*``, a key or ``namespace:*``."""
        return self.text.removeprefix("-")


def quoted(text: str) -> str:
    """Return ``text`` for a message: in quotes, shortened, with everything unprintable escaped."""
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}…")


def split_terms(text: str, known: Collection[str] = ()) -> tuple[Term, ...]:
    """Return the terms of a mode that is neither blank nor ``-``, in the order they are written.

    ``known`` are the terms to choose a suggestion from. Raises ``WorkerModeError`` at the first term that is wrong.
    """
    if len(text) > LONGEST_MODE:
        raise WorkerModeError(
            f"worker mode {quoted(text)}: {len(text)} characters are too many",
            hint=f"at most {LONGEST_MODE}; 'noun:*' names a whole namespace",
            term=text[:SHOWN],
            position=1,
        )
    terms = []
    start = 0
    for piece in text.split(","):
        name = piece.strip(BLANKS)
        position = start + len(piece) - len(piece.lstrip(BLANKS)) + 1 if name else start + 1
        if not TERM.fullmatch(name):
            raise _refusal(text, name, position, known)
        terms.append(Term(name, position))
        start += len(piece) + 1
    return tuple(terms)


def _refusal(text: str, name: str, position: int, known: Collection[str]) -> WorkerModeError:
    where = f"worker mode {quoted(text)}"
    if name in {"", "-"}:
        pieces = [piece.strip(BLANKS) for piece in text.split(",")]
        rest = [piece for piece in pieces if piece not in ("", "-")]
        suggestion = ",".join(rest) if all(TERM.fullmatch(piece) for piece in rest) else ""
    else:
        suggestion = _suggestion(name, known)
    asked = f"did you mean {quoted(suggestion)}?"
    if not name:
        code, message = "mode.empty_term", f"{where}: the term at position {position} is empty"
        hint = asked if suggestion else "leave it unset to serve everything"
    elif name == "-":
        code, message = "mode.dash_in_list", f"{where}: '-' at position {position} stands in a list"
        hint = "alone it serves nothing; to exclude a key, write '-' before it, as in '*,-noun:verb'"
        suggestion = suggestion or "-"
    else:
        code, message = (
            "mode.malformed_term",
            f"{where}: {quoted(name)} at position {position} {_fault_of(name, position)}",
        )
        hint = asked if suggestion else "see: nocohost plugins list"
    return WorkerModeError(message, hint=hint, code=code, term=name, position=position, suggestion=suggestion)


def _fault_of(name: str, position: int) -> str:
    for offset, character in enumerate(name):
        if not character.isascii() or not character.isprintable():
            point = f"U+{ord(character):04X} {unicodedata.name(character, '')}".strip()
            return f"holds {character!r} ({point}) at position {position + offset}"
    if name != name.lower():
        return "is not lower case"
    if " " in name:
        return "holds a blank; a comma stands between terms"
    return "is not '!', '*', 'noun:verb', 'noun:*', or an exclusion such as '-noun:verb'"


def _suggestion(name: str, known: Collection[str]) -> str:
    """Return the valid list of terms that ``name`` most likely means, or the empty string."""
    plain = unicodedata.normalize("NFKC", name).strip().lower()
    plain = "".join("-" if unicodedata.category(character) == "Pd" else character for character in plain)
    if plain.startswith("!") and plain.lstrip("!"):
        plain = f"!,{plain.lstrip('!')}"
    pieces = [piece for piece in re.split(r"[^a-z0-9:*!.\-_/]+", re.sub("!!+", "!", plain)) if piece]
    meant = [_meant(piece, known) for piece in pieces]
    return ",".join(meant) if all(meant) else ""


def _meant(piece: str, known: Collection[str]) -> str:
    if piece in {"!", "*"} or (TERM.fullmatch(piece) and (not known or piece.removeprefix("-") in known)):
        return piece
    dash = "-" if piece.startswith("-") else ""
    found = nearest(piece.removeprefix("-"), known)
    return found and dash + found
