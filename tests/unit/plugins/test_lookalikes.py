"""Distributions that look like plugins and offer nothing."""

from pathlib import Path

from nocohost.plugins.lookalikes import lookalikes


def distribution(folder: Path, name: str, *, requires: str = "", entry_points: str = "") -> None:
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0"] + [f"Requires-Dist: {requires}"] * bool(requires)
    (info / "METADATA").write_text("\n".join([*lines, ""]))
    if entry_points:
        (info / "entry_points.txt").write_text(entry_points)


def test_what_is_called_or_requires_like_a_plugin_and_has_no_entry_point_is_named(tmp_path: Path) -> None:
    distribution(tmp_path, "nocohost", entry_points="[console_scripts]\nnocohost = nocohost:main\n")
    distribution(tmp_path, "Nocohost_Reports")
    distribution(tmp_path, "acme-billing", requires="nocohost>=0.1")
    distribution(tmp_path, "acme-shop", requires="nocohost", entry_points="[nocohost.services]\na:b = a\n")
    distribution(tmp_path, "acme-tests", requires='nocohost ; extra == "test"')
    distribution(tmp_path, "acme-other", requires="nocohost-reports")
    (tmp_path / "broken-1.0.dist-info").mkdir()
    assert lookalikes([str(tmp_path)]) == ["acme-billing", "nocohost-reports"]
