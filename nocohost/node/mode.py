"""The grammar of ``WORKER_MODE``, read once into a ``WorkerMode``.

A string that could be misread is refused here: a node that runs and quietly serves nothing is the failure this module
exists to prevent. What is accepted but could be written more simply earns a notice.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from nocohost.api.errors import WorkerModeError
from nocohost.api.keys import namespace_of, nearest
from nocohost.api.mode import CHILD, EVERYTHING, WorkerMode
from nocohost.node.terms import BLANKS, Term, quoted, split_terms

VARIABLE = "WORKER_MODE"
"""The environment variable that holds the mode; the one name without a prefix."""
MISSPELT = re.compile(r"(NOCOHOST)?WORKERMODES?")
KEYS_SHOWN = 8


@dataclass(frozen=True, slots=True)
class ParsedMode:
    """A worker mode, and what its writer should know about how it was read."""

    mode: WorkerMode
    notices: tuple[str, ...] = ()


def misspells_worker_mode(name: str) -> bool:
    """Tell whether the variable ``name`` was probably meant to be ``WORKER_MODE``."""
    return name != VARIABLE and MISSPELT.fullmatch(re.sub("[^A-Z]", "", name.upper())) is not None


def parse_grammar(text: str | None, *, required: bool = False) -> ParsedMode:
    """Read a worker mode without asking which keys exist; see ``parse_mode``."""
    return _parse(text or "", (), required=required)[0]


def parse_mode(
    text: str | None, *, declared: Collection[str], external: Collection[str] = (), required: bool = False
) -> ParsedMode:
    """Read a worker mode whose keys must be ``declared`` by an installed plugin, or ``external``.

    None, the empty string and blanks mean everything, unless ``required``. Raises ``WorkerModeError`` with the code,
    the term, its position and the nearest valid one; what the grammar forbids is told before what is not installed.
    """
    text = text or ""
    external = frozenset(external) - frozenset(declared)
    keys = {*declared, *external}
    known = keys | {f"{namespace_of(key)}:*" for key in keys}
    parsed, terms = _parse(text, known, required=required)
    for term in terms:
        _check_known(text, term, known)
    mode = parsed.mode
    elsewhere = [key for key in sorted(external) if mode.deciding_term(key)[1] not in ("", "*") and mode.covers(key)]
    notices = [*parsed.notices]
    if elsewhere:
        notices.append(f"this image does not serve {_listed(elsewhere)}: NOCOHOST_EXTERNAL_KEYS leaves it to others")
    elif not any(mode.covers(key) for key in declared):
        if mode.excluded_keys or mode.excluded_namespaces:
            if not mode.serves_requests:
                raise _nothing_left(text, terms)
            notices.append("the exclusions leave no service: this node serves requests alone, as with '!'")
        elif mode.serves_all and not mode.serves_requests:
            notices.append("no installed plugin declares a service key, so this node serves nothing")
    return ParsedMode(mode, tuple(notices))


def _parse(text: str, known: Collection[str], *, required: bool) -> tuple[ParsedMode, tuple[Term, ...]]:
    stripped = text.strip(BLANKS)
    if not stripped:
        if required:
            raise WorkerModeError(
                "worker mode: none is set, and NOCOHOST_REQUIRE_MODE asks for one",
                hint="set WORKER_MODE, in quotes: an unquoted ! in YAML is null; '!,*' serves everything",
                code="mode.required",
                suggestion="!,*",
            )
        return ParsedMode(EVERYTHING), ()
    if stripped == "-":
        return ParsedMode(CHILD), ()
    terms = split_terms(text, known)
    for term in terms:
        _check_base(text, term, terms)
    return _combined(text, terms), terms


def _check_known(text: str, term: Term, known: Collection[str]) -> None:
    """Refuse a key or namespace that nobody declares."""
    if term.name in {"!", "*"} or term.name in known:
        return
    what = "service key" if not term.name.endswith(":*") else "namespace"
    suggestion = nearest(term.name, [name for name in known if name.endswith(":*") == term.name.endswith(":*")])
    suggestion = suggestion and ("-" if term.is_exclusion else "") + suggestion
    keys = [name for name in known if not name.endswith(":*")]
    hint = f"did you mean {quoted(suggestion)}? Keys" if suggestion else f"known keys: {_listed(keys) or 'none'}; keys"
    raise WorkerModeError(
        f"worker mode {quoted(text)}: no installed plugin declares the {what} {quoted(term.name)}"
        f" at position {term.position}",
        hint=f"{hint} that other images serve go into NOCOHOST_EXTERNAL_KEYS",
        code="mode.unknown_key",
        term=term.text,
        position=term.position,
        suggestion=suggestion,
    )


def _check_base(text: str, term: Term, terms: Iterable[Term]) -> None:
    """Refuse an exclusion from a list that would not serve the excluded anyway."""
    if not term.is_exclusion:
        return
    namespace = namespace_of(term.name)
    served = [other.name for other in terms if not other.is_exclusion]
    if {"*", f"{namespace}:*", term.name}.intersection(served):
        return
    if term.name.endswith(":*") and any(namespace_of(name) == namespace for name in served):
        return
    suggestion = ",".join([*(["!"] if "!" in served else []), "*", term.text])
    raise WorkerModeError(
        f"worker mode {quoted(text)}: {quoted(term.text)} at position {term.position} has nothing to be excluded from",
        hint=f"did you mean {quoted(suggestion)}?",
        code="mode.exclusion_without_base",
        term=term.text,
        position=term.position,
        suggestion=suggestion,
    )


def _combined(text: str, terms: tuple[Term, ...]) -> ParsedMode:
    served = {term.name for term in terms if not term.is_exclusion} - {"!"}
    excluded = {term.name for term in terms if term.is_exclusion}
    every = "*" in served
    without = {namespace_of(name) for name in excluded if name.endswith(":*")}
    namespaces = set() if every else {namespace_of(name) for name in served if name.endswith(":*")} - without
    mode = WorkerMode(
        serves_requests=any(term.text == "!" for term in terms),
        serves_all=every,
        keys=frozenset(
            name
            for name in served - excluded
            if not (every or name.endswith(":*") or namespace_of(name) in namespaces | without)
        ),
        namespaces=frozenset(namespaces),
        # What was cancelled leaves nothing to exclude from, so it does not stay in the value.
        excluded_keys=frozenset(
            name
            for name in excluded
            if not name.endswith(":*")
            and namespace_of(name) not in without
            and (every or namespace_of(name) in namespaces)
        ),
        excluded_namespaces=frozenset(without if every else ()),
    )
    if mode.is_transient:
        raise _nothing_left(text, terms)
    return ParsedMode(mode, tuple(_notices(terms)))


def _nothing_left(text: str, terms: Iterable[Term]) -> WorkerModeError:
    exclusion = next(term for term in terms if term.is_exclusion)
    return WorkerModeError(
        f"worker mode {quoted(text)}: the exclusions leave nothing to serve, from {quoted(exclusion.text)}"
        f" at position {exclusion.position} on",
        hint="'!' serves requests alone; remove an exclusion to serve something",
        code="mode.nothing_left",
        term=exclusion.text,
        position=exclusion.position,
    )


def _notices(terms: tuple[Term, ...]) -> Iterable[str]:
    """Tell what could be written more simply, once for each term."""
    texts = [term.text for term in terms]
    if "!" in texts and "*" in texts:
        yield "'!,*' serves requests and services alike, as written; NocoBase reads it as '!'"
    for text in sorted(set(texts)):
        if texts.count(text) > 1:
            yield f"{quoted(text)} is listed {texts.count(text)} times; once is enough"
        if ":" not in text:
            continue
        name, sign = text.removeprefix("-"), text[: text.startswith("-")]
        whole = f"{namespace_of(name)}:*"
        cancelling = [f"-{other}" for other in (name, whole) if f"-{other}" in texts and not sign]
        wider = [f"{sign}{other}" for other in ("*", whole) if f"{sign}{other}" in texts and other != name]
        if cancelling:
            yield f"{quoted(text)} has no effect: {quoted(cancelling[0])} excludes it"
        elif wider:
            yield f"{quoted(text)} is redundant: {quoted(wider[0])} covers it"


def _listed(keys: Collection[str]) -> str:
    """Return the first few of ``keys``, and how many more there are."""
    first = ", ".join(sorted(keys)[:KEYS_SHOWN])
    return first if len(keys) <= KEYS_SHOWN else f"{first} and {len(keys) - KEYS_SHOWN} more"
