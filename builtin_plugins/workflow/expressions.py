"""Expressions in CEL, within a budget of their own: text, nesting, iterations, what they touch and what they return.

The binding compiles against the names that are known where the expression stands, so a name that is none is found when
a workflow is saved. It refuses what nests deeper than 32 levels and stops a comprehension after 10,000 iterations. It
cannot be interrupted, so what one iteration may touch is bounded before it starts. It cuts texts at a NUL, so none
that has one is given to it.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from builtin_plugins.workflow.errors import ExpressionError
from builtin_plugins.workflow.nul import holds_nul

TEXT_BYTES = 4096
ITERATIONS = 10_000
"""The binding's own bound of one evaluation."""
TOUCHED_BYTES = 128 * 1024 * 1024
"""Iterations times the largest text or list within reach: at most about a second of a core."""
RESULT_BYTES = 1024 * 1024
ELEMENT_BYTES = 16
DEEPEST = 64
MOST_COPIES = 65_536
"""How often a chain of macros may hold one value."""
INTS = range(-(2**63), 2**63)
MACRO = re.compile(r"\b(all|exists|exists_one|map|filter)\b")
STEP = re.compile(r"\bsteps\s*\.\s*([a-z_][a-z0-9_]*)")
CHAIN = re.compile(r"(?<![\w.])([a-z_][a-z0-9_]*)((?:\s*\.\s*[A-Za-z_][A-Za-z0-9_]*)*)")
NAME = re.compile(r"\b[a-z_][a-z0-9_]*\b")
PREFIX = re.compile(r"^([A-Z_]+: )*(<input>:)?")
STEPS = re.compile(r"\bsteps\b")


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression; its value is a JSON value."""

    text: str
    program: Any = field(repr=False, compare=False)
    names: Sequence[str]
    """The names it is given; the binding copies what it is given, so no others."""
    steps: Sequence[str] | None
    """The steps that it names; None when it uses ``steps`` otherwise."""

    def evaluate(self, scope: Mapping[str, Any]) -> Any:
        """Return the value as JSON has it; raises ``ExpressionError``."""
        given = {name: scope[name] for name in self.names if name in scope}
        if self.steps is not None and "steps" in given:
            given["steps"] = {key: given["steps"][key] for key in self.steps if key in given["steps"]}
        reached = _reached(given, self.text)
        if any(map(holds_nul, reached)):
            raise ExpressionError("a text that it reads has a NUL character", hint=self.text[:200])
        self._check_budget(reached)
        try:
            value = self.program.eval(data=given)
        except (RuntimeError, ValueError, TypeError) as error:
            raise ExpressionError(_first_line(error), hint=self.text[:200]) from error
        if value.type().name() == "ERROR":
            raise ExpressionError(_first_line(value.value()), hint=self.text[:200])
        return _Reader(self.text).read(value.value(), 0)

    def _check_budget(self, reached: Sequence[Any]) -> None:
        macros = len(MACRO.findall(self.text))
        joins, listed = self.text.count("+"), max(0, self.text.count(",") - macros)
        if _growth(macros, joins + listed) > MOST_COPIES and macros:
            raise ExpressionError(
                f"limit: expression: {macros} macros over lists of lists",
                code="workflow.expression_limit",
                hint=self.text[:200],
            )
        if not macros and not joins:
            return
        largest, longest = _extent(reached, self.text)
        rounds = 1 if not macros else ITERATIONS if macros > 1 else min(longest, ITERATIONS)
        if rounds * largest * _growth(macros, joins) > TOUCHED_BYTES:
            raise ExpressionError(
                f"limit: expression: {rounds} iterations over values of {largest} bytes",
                code="workflow.expression_limit",
                hint=self.text[:200],
            )


class Compiler:
    """Compiles expressions; keeps one environment for each set of names."""

    def __init__(self) -> None:
        self._environments: dict[tuple[str, ...], Any] = {}

    def compile(self, text: str, names: Sequence[str]) -> Expression:
        """Return the expression, compiled for where ``names`` are known; raises ``ExpressionError``."""
        size = len(text.encode("utf-8", "surrogatepass"))
        if size > TEXT_BYTES:
            raise ExpressionError(f"an expression has at most {TEXT_BYTES} bytes, this one {size}")
        if "\x00" in text or not text.strip():
            raise ExpressionError("an expression cannot be empty")
        try:
            program = self._environment(tuple(sorted(names))).compile(text)
        except (RuntimeError, ValueError) as error:
            raise ExpressionError(_first_line(error)) from error
        used = set(NAME.findall(text))
        keys = STEP.findall(text)
        named_only = len(keys) == len(STEPS.findall(text))
        steps = sorted(set(keys)) if named_only else None
        return Expression(text, program, [name for name in names if name in used], steps)

    def _environment(self, names: tuple[str, ...]) -> Any:
        found = self._environments.get(names)
        if found is None:
            from cel_expr_python import cel

            overload = cel.Overload("sum_list", return_type=cel.Type.DYN, parameters=[cel.Type.LIST], impl=_sum)
            known, added = dict.fromkeys(names, cel.Type.DYN), [cel.FunctionDecl("sum", [overload])]
            found = self._environments[names] = cel.NewEnv(variables=known, functions=added)
        return found


class _Reader:
    """Makes JSON of a value, within a budget."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._left = RESULT_BYTES

    def read(self, value: Any, depth: int) -> Any:
        if hasattr(value, "plain_value"):
            value = value.value()
        self._left -= len(value) if isinstance(value, str) else 4
        if self._left < 0 or depth > DEEPEST:
            raise ExpressionError(
                f"limit: the value is larger than {RESULT_BYTES} bytes, or nested deeper than {DEEPEST}",
                code="workflow.expression_limit",
                hint=self._text[:200],
            )
        if isinstance(value, str) and "\0" in value:
            raise ExpressionError("the value has a NUL character", hint=self._text[:200])
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, float):
            if not math.isfinite(value):
                raise ExpressionError(f"the value is {value}, which JSON does not have", hint=self._text[:200])
            return value
        if isinstance(value, datetime):
            return value.isoformat().replace("+00:00", "Z")
        if isinstance(value, timedelta):
            return value.total_seconds()
        return self._read_many(value, depth)

    def _read_many(self, value: Any, depth: int) -> Any:
        if isinstance(value, list):
            return [self.read(one, depth + 1) for one in value]
        if isinstance(value, dict):
            if not all(isinstance(key, str) for key in value):
                raise ExpressionError("the keys of an object are texts", hint=self._text[:200])
            if any("\0" in key for key in value):
                raise ExpressionError("a name in the value has a NUL character", hint=self._text[:200])
            self._left -= sum(map(len, value))
            return {key: self.read(one, depth + 1) for key, one in value.items()}
        raise ExpressionError(f"the value is a {type(value).__name__}, which JSON does not have", hint=self._text[:200])


def _sum(values: list[Any]) -> int | float:
    """Add the numbers of a list up: ``sum`` in expressions, which CEL does not have."""
    kinds = set(map(type, values))
    if not (kinds <= {int} or kinds == {float}):
        raise ValueError("sum adds ints or doubles, not both and nothing else; write double(x)")
    total: int | float = sum(values)
    if isinstance(total, int) and total not in INTS:
        raise ValueError("sum: int overflow")
    return total


def _reached(given: Mapping[str, Any], text: str) -> list[Any]:
    """Return the values that an expression names, as narrow as its dots lead: ``trigger.lines``, not all of it."""
    found = []
    for name, chain in CHAIN.findall(text):
        if name not in given:
            continue
        value = given[name]
        for part in re.findall(r"\w+", chain):
            if not isinstance(value, dict) or part not in value:
                break
            value = value[part]
        found.append(value)
    return found


def _growth(macros: int, joins: int) -> float:
    """Return by how much a value may grow that goes through macros, each of which puts it together with itself."""
    return float((1 + joins / (macros + 1)) ** (macros + 1))


def _extent(given: Any, text: str) -> tuple[int, int]:
    """Return the size of the largest text or list within reach, and the length of the longest list or object."""
    largest, longest = len(text), text.count(",") + 1
    waiting = [given]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            largest = max(largest, len(value))
        elif isinstance(value, dict | list):
            longest = max(longest, len(value))
            largest = max(largest, len(value) * ELEMENT_BYTES)
            waiting.extend(value.values() if isinstance(value, dict) else value)
    return largest, longest


def _first_line(error: object) -> str:
    text = PREFIX.sub("", str(error).strip()).replace(" (in container '')", "")
    return (text.splitlines() or ["it cannot be"])[0][:300]
