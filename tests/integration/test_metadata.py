"""Metadata as installers leave it on disk: copies, checkouts, ruins."""

import zipfile
from pathlib import Path

import pytest
from plugins.wheels import Wheel

from nocohost.plugins.catalogue import read_catalogue


def unpacked(folder: Path, *wheels: Wheel) -> Path:
    """Lay out what an installer would, without one."""
    site = folder / "site"
    site.mkdir(parents=True, exist_ok=True)
    for wheel in wheels:
        with zipfile.ZipFile(wheel.build(folder)) as archive:
            archive.extractall(site)
    return site


def offering(distribution: str, version: str = "1.0", **services: str) -> Wheel:
    return Wheel(distribution, {}, {"services": services} if services else {}, version=version)


def test_of_two_copies_of_a_distribution_the_first_on_the_path_wins(tmp_path: Path) -> None:
    first = unpacked(tmp_path / "a", offering("twice", "2.0", **{"a:new": "twice.new", "a:both": "twice.both"}))
    second = unpacked(tmp_path / "b", offering("twice", "1.0", **{"a:old": "twice.old", "a:both": "twice.both"}))
    catalogue = read_catalogue([str(first), str(second)])
    assert {(one.name, one.version) for one in catalogue.entries} == {("a:new", "2.0"), ("a:both", "2.0")}
    assert not catalogue.verdicts
    assert {one.version for one in read_catalogue([str(second), str(first), str(second)]).entries} == {"1.0"}


def test_a_first_copy_without_entry_points_hides_the_second(tmp_path: Path) -> None:
    first = unpacked(tmp_path / "a", offering("gone", "2.0"))
    second = unpacked(tmp_path / "b", offering("gone", "1.0", **{"a:old": "gone.old"}))
    assert read_catalogue([str(first), str(second)]).entries == ()


def test_an_editable_checkout_and_a_wheel_are_one_distribution(tmp_path: Path) -> None:
    info = tmp_path / "checkout" / "My_Shop.egg-info"
    info.mkdir(parents=True)
    (info / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: My.Shop\nVersion: 3.0.dev0\n")
    (info / "entry_points.txt").write_text("[nocohost.services]\na:a = shop.a\n")
    site = unpacked(tmp_path, offering("my-shop", "2.0", **{"a:a": "shop.a"}))
    (found,) = read_catalogue([str(tmp_path / "checkout"), str(site)]).entries
    assert (found.distribution, found.version) == ("my-shop", "3.0.dev0")


def test_a_reference_may_name_an_object_and_extras(tmp_path: Path) -> None:
    points = {"services": {"a:a": "acme.work:Surface.inner [pdf, big-one]"}, "commands": {"shop": "acme.cli:shop"}}
    (service, command) = read_catalogue([str(unpacked(tmp_path, Wheel("acme", {}, points)))]).entries
    assert (service.module, service.attribute, service.extras) == ("acme.work", "Surface.inner", ("pdf", "big-one"))
    assert service.reference == "acme.work:Surface.inner"
    assert command.reference == "acme.cli:shop"


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("METADATA", None),
        ("METADATA", b"Metadata-Version: 2.1\nVersion: 1.0\n"),
        ("METADATA", b"\xff\xfe\x00"),
        ("entry_points.txt", b"[nocohost.services]\n\xff = \xfe\n"),
        ("entry_points.txt", b"[nocohost.services]\nwithout an equals sign\n"),
    ],
)
def test_metadata_that_cannot_be_read_is_left_out_with_a_notice(
    tmp_path: Path, file: str, content: bytes | None
) -> None:
    site = unpacked(tmp_path, offering("ruined", **{"r:r": "ruined.r"}), offering("sound", **{"s:s": "sound.s"}))
    path = site / "ruined-1.0.dist-info" / file
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    catalogue = read_catalogue([str(site)])
    assert [one.name for one in catalogue.entries] == ["s:s"]
    assert len(catalogue.notices) == 1
    assert "was left out" in catalogue.notices[0]


def test_a_folder_that_is_not_there_is_no_matter(tmp_path: Path) -> None:
    assert read_catalogue([str(tmp_path / "nowhere")]).entries == ()


def test_a_group_that_does_not_exist_is_a_notice_with_the_nearest(tmp_path: Path) -> None:
    wheel = Wheel("lost", {}, {"service": {"a:a": "lost.a"}, "odd": {"x": "lost.x"}, "requests": {"lost": "lost.r"}})
    catalogue = read_catalogue([str(unpacked(tmp_path, wheel))])
    assert [one.name for one in catalogue.entries] == ["lost"]
    assert catalogue.notices == (
        "lost: there is no entry-point group nocohost.odd",
        "lost: there is no entry-point group nocohost.service; did it mean nocohost.services?",
    )
