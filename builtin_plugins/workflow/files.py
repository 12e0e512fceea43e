"""Definitions in files, as JSON and as YAML."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import yaml

from builtin_plugins.workflow.errors import DefinitionError

FILE_BYTES = 1024 * 1024


def read_files(files: Sequence[Path]) -> Iterator[tuple[Path, Any]]:
    """Yield what each file holds; raises ``DefinitionError`` for one that is neither JSON nor YAML."""
    for file in files:
        if file.stat().st_size > FILE_BYTES:
            raise DefinitionError(f"{file} has more than {FILE_BYTES} bytes")
        text = file.read_text(encoding="utf-8", errors="replace")
        try:
            value = json.loads(text) if file.suffix == ".json" else _plain(PlainLoader(text).get_single_data())
        except (ValueError, yaml.YAMLError, RecursionError) as error:
            raise DefinitionError(f"{file} cannot be read: {' '.join(str(error).split())[:300]}") from error
        yield file, value


def dumped(definition: Mapping[str, Any], form: str) -> str:
    """Return a definition as text that ``read_files`` reads as the same."""
    if form == "json":
        return json.dumps(definition, indent=2) + "\n"
    return yaml.dump(dict(definition), Dumper=yaml.SafeDumper, sort_keys=False, allow_unicode=True, width=120)


class PlainLoader(yaml.SafeLoader):
    """Safe YAML without references."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> Any:
        """Refuse references: a few of them can stand for gigabytes."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("references (*name) are refused")
        return super().compose_node(parent, index)


def _plain(value: Any) -> Any:
    """Return a value of YAML as JSON has it: keys are texts, and a bare ``on`` is one too."""
    if isinstance(value, dict):
        return {"on" if key is True else str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value
