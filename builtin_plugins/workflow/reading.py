"""Reading a definition: every fault is found, each with its path, and nothing is evaluated."""

import json
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from builtin_plugins.workflow.definition import FORMAT, Definition, RetryRule, Step, Trigger
from builtin_plugins.workflow.errors import DefinitionError, ExpressionError
from builtin_plugins.workflow.expressions import Compiler, Expression
from builtin_plugins.workflow.form import COMMON_FIELDS, StepForm
from builtin_plugins.workflow.nul import holds_nul, nul_faults
from builtin_plugins.workflow.outline import TRIGGERS, DefinitionFields, StepFields
from builtin_plugins.workflow.steps.forms import BLOCK_TYPES

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
KEY = re.compile(r"[a-z_][a-z0-9_]*")
KEY_LETTERS = 64
RESERVED = frozenset(
    (
        *("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import"),
        *("let", "loop", "package", "namespace", "return", "var", "void", "while", "trigger", "steps"),
    )
)
DEFINITION_BYTES = 1024 * 1024
STEPS = 500
DEEPEST = 20
EXPRESSIONS = frozenset({"if", "value", "over", "while"})
"""Fields of the built-in steps that hold an expression without a mark."""
BLOCKS: Mapping[str, Sequence[str]] = {"condition": ("then", "else"), "loop": ("do",)}
MARK = "= "


def read_definition(value: Any, forms: Mapping[str, StepForm], compiler: Compiler) -> Definition:
    """Return what ``value`` defines; raises ``DefinitionError`` with every fault and its path."""
    if not isinstance(value, dict):
        raise DefinitionError("a definition is a JSON object", faults=["/: it is no object"])
    version = value.get("version")
    if isinstance(version, int) and not isinstance(version, bool) and version > FORMAT:
        raise DefinitionError(
            f"the definition is of format {version}, this node reads {FORMAT}",
            faults=[f"/version: {version} is newer than {FORMAT}"],
            hint="upgrade nocohost, or export the workflow in the older format",
        )
    if _size(value) > DEFINITION_BYTES:
        raise DefinitionError("the definition is too large", faults=[f"/: larger than {DEFINITION_BYTES} bytes"])
    reader = Reader(forms, compiler)
    found = reader.definition(value)
    if holds_nul(value):
        reader.faults += nul_faults(value, "")
    if reader.faults or found is None:
        count = len(reader.faults)
        raise DefinitionError(
            f"the definition has {count} fault{'s' if count > 1 else ''}: {'; '.join(reader.faults[:3])}",
            faults=reader.faults,
        )
    return found


class Reader:
    """Reads one definition, and collects its faults."""

    def __init__(self, forms: Mapping[str, StepForm], compiler: Compiler) -> None:
        self.faults: list[str] = []
        self._forms = forms
        self._compiler = compiler
        self._keys: dict[str, str] = {}
        self._count = 0

    def definition(self, value: Mapping[str, Any]) -> Definition | None:
        """Return the definition; with faults what is returned is of no use."""
        fields = self._fit(DefinitionFields, value, "")
        name = value.get("name")
        if isinstance(name, str) and (len(name) > KEY_LETTERS or not NAME.fullmatch(name)):
            self._fault(
                "/name", f"{name[:80]!r} is no name: lower-case words joined by -, at most {KEY_LETTERS} letters"
            )
        trigger = self._trigger(value.get("trigger"))
        steps = self._block(value.get("steps"), "/steps", "", (), 1)
        output = None
        if isinstance(value.get("output"), str):
            output = self._compile(value["output"], "/output", ("trigger", "steps"))
        if fields is None or trigger is None:
            return None
        return Definition(
            fields.name, fields.title or fields.name, trigger, steps, output, fields.timeout_seconds, dict(value)
        )

    def _trigger(self, value: Any) -> Trigger | None:
        if not isinstance(value, dict):
            return None  # the outline has said so
        kind = value.get("type")
        model = TRIGGERS.get(kind) if isinstance(kind, str) else None
        if model is None:
            self._fault("/trigger/type", f"{str(kind)[:80]!r} is no trigger; one of: {', '.join(TRIGGERS)}")
            return None
        fields = self._fit(model, value, "/trigger")
        if fields is None:
            return None
        params = fields.model_dump(exclude={"type"})
        if isinstance(params.get("when"), str):
            params["when"] = self._compile(params["when"], "/trigger/when", ("trigger",))
        return Trigger(str(kind), params)

    def _block(self, value: Any, where: str, path: str, names: Sequence[str], depth: int) -> tuple[Step, ...]:
        if not isinstance(value, list):
            if where != "/steps" or value is not None:
                self._fault(where, "a list of steps is expected")
            return ()
        if depth > DEEPEST:
            self._fault(where, f"steps are nested deeper than {DEEPEST}")
            return ()
        steps = [self._step(one, f"{where}/{place}", path, names, depth) for place, one in enumerate(value)]
        return tuple(step for step in steps if step is not None)

    def _step(self, value: Any, where: str, path: str, names: Sequence[str], depth: int) -> Step | None:
        self._count += 1
        if self._count > STEPS:
            if self._count == STEPS + 1:
                self._fault(where, f"a definition has at most {STEPS} steps")
            return None
        if not isinstance(value, dict):
            self._fault(where, "a step is an object")
            return None
        blocks = self._block_fields(value)
        common = {name: value[name] for name in COMMON_FIELDS if name in value and name != "on_error"}
        fields = self._fit(StepFields, common, where)
        key = self._key(value.get("key"), f"{where}/key")
        form = self._form(value.get("type"), f"{where}/type")
        params = {name: one for name, one in value.items() if name not in COMMON_FIELDS and name not in blocks}
        if form is not None:
            self._check_params(form, params, where)
        if form is None or key is None:
            return None
        own = f"{path}{key}"
        inner = (*names, *self._loop_names(form.type, params, where))
        compiled = self._compiled_params(form.type, params, where, names, inner)
        if form.type == "switch":
            compiled["cases"] = self._equals(value.get("cases"), f"{where}/cases", names)
        read = self._blocks(form.type, value, where, own, inner, depth)
        on_error = value.get("on_error", "fail")
        if isinstance(on_error, list):
            read["on_error"] = self._block(on_error, f"{where}/on_error", f"{own}/on_error/", names, depth + 1)
            on_error = "route"
        elif on_error not in ("fail", "continue"):
            self._fault(f"{where}/on_error", 'it is "fail", "continue" or a list of steps')
        if fields is None:
            return None
        retry = RetryRule() if fields.retry is None else RetryRule(**fields.retry.model_dump())
        return Step(key, form.type, own, compiled, read, retry, fields.timeout_seconds, on_error)

    def _block_fields(self, value: Mapping[str, Any]) -> frozenset[str]:
        fields = {
            "condition": {"then", "else"},
            "loop": {"do"},
            "switch": {"cases", "default"},
            "parallel": {"branches"},
        }
        kind = value.get("type")
        return frozenset(fields.get(kind, ()) if isinstance(kind, str) else ())

    def _key(self, key: Any, where: str) -> str | None:
        if not isinstance(key, str):
            return None  # the outline has said so
        if not self._check_word(key, where):
            return None
        if key in self._keys:
            self._fault(where, f"{key!r} is the key or the loop name of {self._keys[key]} too")
            return None
        self._keys[key] = where
        return key

    def _check_word(self, word: str, where: str) -> bool:
        if len(word) > KEY_LETTERS or not KEY.fullmatch(word) or word in RESERVED:
            self._fault(where, f"{word[:80]!r} cannot be: lower-case letters, digits and _, and no word of CEL")
            return False
        return True

    def _form(self, kind: Any, where: str) -> StepForm | None:
        if not isinstance(kind, str):
            return None
        if kind not in self._forms:
            near = get_close_matches(kind, self._forms, n=1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            self._fault(where, f"no installed plugin declares steps of type {kind[:80]!r}{meant}")
            return None
        return self._forms[kind]

    def _check_params(self, form: StepForm, params: Mapping[str, Any], where: str) -> None:
        """Check what is written; what is an expression is checked when it has a value."""
        try:
            form.params.model_validate(params)
        except ValidationError as error:
            for fault in error.errors(include_url=False, include_context=False):
                if not _is_marked(_at(params, fault["loc"])):
                    self._fault(_place(where, fault["loc"]), fault["msg"])

    def _loop_names(self, kind: str, params: Mapping[str, Any], where: str) -> Sequence[str]:
        name = params.get("as")
        if kind != "loop" or not isinstance(name, str) or not self._check_word(name, f"{where}/as"):
            return ()
        for one in (name, f"{name}_index"):
            if one in self._keys:
                self._fault(f"{where}/as", f"{one!r} is the key or the loop name of {self._keys[one]} too")
            self._keys[one] = f"{where}/as"
        return (name, f"{name}_index")

    def _compiled_params(
        self, kind: str, params: Mapping[str, Any], where: str, names: Sequence[str], inner: Sequence[str]
    ) -> dict[str, Any]:
        known = ("trigger", "steps", *names)
        compiled: dict[str, Any] = {}
        for name, one in params.items():
            at = f"{where}/{name}"
            if kind in BLOCK_TYPES | {"calculate"} and name in EXPRESSIONS:
                if isinstance(one, str):
                    compiled[name] = self._compile(one, at, ("trigger", "steps", *inner) if name == "while" else known)
            else:
                compiled[name] = one if name in ("as", "mode", "state") else self._marked(one, at, known)
        return compiled

    def _marked(self, value: Any, where: str, names: Sequence[str]) -> Any:
        if isinstance(value, str):
            return self._compile(value[len(MARK) :], where, names) if value.startswith(MARK) else value
        if isinstance(value, dict):
            return {name: self._marked(one, f"{where}/{name}", names) for name, one in value.items()}
        if isinstance(value, list):
            return [self._marked(one, f"{where}/{place}", names) for place, one in enumerate(value)]
        return value

    def _blocks(
        self, kind: str, value: Mapping[str, Any], where: str, path: str, names: Sequence[str], depth: int
    ) -> dict[str, tuple[Step, ...]]:
        if kind == "parallel":
            return self._branches(value.get("branches"), f"{where}/branches", path, names, depth)
        if kind == "switch":
            return self._cases(value, where, path, names, depth)
        return {
            block: self._block(value.get(block, []), f"{where}/{block}", f"{path}/{block}/", names, depth + 1)
            for block in BLOCKS.get(kind, ())
        }

    def _branches(
        self, value: Any, where: str, path: str, names: Sequence[str], depth: int
    ) -> dict[str, tuple[Step, ...]]:
        if not isinstance(value, list) or not value:
            self._fault(where, "a list of branches is expected, each a list of steps")
            return {}
        return {
            str(place): self._block(one, f"{where}/{place}", f"{path}/{place}/", names, depth + 1)
            for place, one in enumerate(value)
        }

    def _cases(
        self, value: Mapping[str, Any], where: str, path: str, names: Sequence[str], depth: int
    ) -> dict[str, tuple[Step, ...]]:
        blocks = {
            "default": self._block(value.get("default", []), f"{where}/default", f"{path}/default/", names, depth + 1)
        }
        cases = value.get("cases")
        if not isinstance(cases, list) or not cases:
            self._fault(f"{where}/cases", 'a list of cases is expected, each {"equals": ..., "do": [steps]}')
            return blocks
        for place, case in enumerate(cases):
            at = f"{where}/cases/{place}"
            if not isinstance(case, dict) or set(case) != {"equals", "do"}:
                self._fault(at, 'a case is {"equals": ..., "do": [steps]}')
                continue
            blocks[str(place)] = self._block(case["do"], f"{at}/do", f"{path}/{place}/", names, depth + 1)
        return blocks

    def _equals(self, cases: Any, where: str, names: Sequence[str]) -> Any:
        known = ("trigger", "steps", *names)
        return [
            self._marked(case["equals"], f"{where}/{place}/equals", known)
            for place, case in enumerate(cases if isinstance(cases, list) else [])
            if isinstance(case, dict) and "equals" in case
        ]

    def _compile(self, text: str, where: str, names: Sequence[str]) -> Expression | None:
        try:
            return self._compiler.compile(text, names)
        except ExpressionError as error:
            self._fault(where, error.message)
            return None

    def _fit(self, model: Any, value: Any, where: str) -> Any:
        try:
            return model.model_validate(value)
        except ValidationError as error:
            for fault in error.errors(include_url=False, include_context=False, include_input=False):
                self._fault(_place(where, fault["loc"]), fault["msg"])
            return None

    def _fault(self, where: str, what: str) -> None:
        self.faults.append(f"{where or '/'}: {what}")


def _size(value: Any) -> int:
    try:
        return len(json.dumps(value, ensure_ascii=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise DefinitionError(f"the definition is no JSON: {error}", faults=[f"/: {error}"]) from error


def _place(where: str, loc: Sequence[Any]) -> str:
    return "/".join([where, *map(str, loc)])


def _at(params: Any, loc: Sequence[Any]) -> Any:
    """Return what stands at ``loc``, or the marked text on the way there."""
    for part in loc:
        if _is_marked(params):
            return params
        try:
            params = params[part]
        except (KeyError, IndexError, TypeError):
            return None
    return params


def _is_marked(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(MARK)
