"""The reference page of the settings says what the code says: variable, default and meaning of each."""

from pathlib import Path

import pytest

from nocohost.node.settings import Setting, declared_settings

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "settings.md"


def default_of(setting: Setting) -> str:
    if setting.name == "node_name":
        return "the host's name"
    if setting.default is None:
        return "not set"
    if setting.default == ():
        return "none"
    text = str(setting.default).removesuffix(".0")
    return f"`{text.lower() if isinstance(setting.default, bool) else text}`"


@pytest.mark.parametrize("setting", list(declared_settings()), ids=lambda setting: setting.name)
def test_a_setting_has_its_row(setting: Setting) -> None:
    row = f"| `{setting.name}` | `{setting.variable}` | {default_of(setting)} | {setting.meaning} |"
    assert row in PAGE.read_text(encoding="utf-8").splitlines()
