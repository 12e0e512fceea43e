"""Settings that are secret: kept, and never shown."""

from pathlib import Path

import pytest

from nocohost.api.errors import SettingError
from nocohost.node.settings import LoadedSettings, declared_settings, load_settings


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run where no ``nocohost.toml`` lies."""
    monkeypatch.chdir(tmp_path)


def shown(loaded: LoadedSettings) -> str:
    return " ".join(
        [repr(loaded), str(loaded.settings), *(str(loaded.shown(setting.name)) for setting in declared_settings())]
    )


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://shop:s3cret@db/shop",
        "postgresql://shop:s3cret/with@at@db:5432/shop?sslmode=require",
        "postgresql+psycopg://:s3cret@db/shop",
        "postgresql://db/shop?user=shop&password=s3cret",
        "postgresql://db/shop?sslpassword=s3cret&sslmode=require",
        "postgresql://shop:s3cret?x#y@db/shop",
    ],
)
def test_passwords_in_the_database_url_are_never_shown(url: str) -> None:
    loaded = load_settings({"DATABASE_URL": url, "NOCOHOST_ADMIN_TOKEN": "t0p-s3cret-0123456789"})
    assert loaded.settings.database_url == url
    assert "s3cret" not in shown(loaded)
    assert loaded.shown("admin_token") == "********"
    assert loaded.shown("database.url").startswith("postgresql")


def test_a_url_without_a_password_is_shown_as_it_is() -> None:
    url = "postgresql://shop@db:5432/shop?sslmode=require"
    assert load_settings({"DATABASE_URL": url}).shown("database.url") == url
    assert load_settings({}).shown("database.url") == "sqlite:///nocohost-data/nocohost.sqlite"


def test_faults_do_not_repeat_secrets() -> None:
    with pytest.raises(SettingError) as caught:
        load_settings({"NOCOHOST_ADMIN_TOKEN": "s3cret\n", "DATABASE_URL": "mysql://shop:s3cret@db/shop"})
    told = caught.value.faults
    assert len(told) == 2
    assert "s3cret" not in " ".join(told)


def test_an_admin_token_that_can_be_guessed_is_warned_of() -> None:
    (warning,) = load_settings({"NOCOHOST_ADMIN_TOKEN": "changeme"}).warnings
    assert "guessed" in warning
    assert "changeme" not in warning
