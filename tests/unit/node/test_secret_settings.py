"""What settings that hold secrets must be, and what of them is never told."""

import pytest

from nocohost.api.errors import SettingError
from nocohost.node.settings import load_settings


def faults(environ):
    with pytest.raises(SettingError) as caught:
        load_settings(environ)
    return [*caught.value.faults, str(caught.value)]


@pytest.mark.parametrize("text", ["", " ", "\n", "nch_0123456789abcdef ", " nch_0123456789abcdef", "\t"])
def test_an_admin_token_that_no_request_can_show_is_refused(text, tmp_path) -> None:
    """It would pass for the admin that a node needs before it binds a public address."""
    file = tmp_path / "token"
    file.write_text(text)
    told = faults({"NOCOHOST_ADMIN_TOKEN_FILE": str(file)})
    assert "NOCOHOST_ADMIN_TOKEN_FILE" in told[0]
    assert "nch_" not in " ".join(told)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:/shop:s3cret@db/shop",
        "shop:s3cret@db/shop",
        "postgresql//shop:s3cret@db/shop",
        "postgresql:s3cret@db",
    ],
)
def test_a_database_url_that_was_misspelt_is_not_repeated_with_its_password(url) -> None:
    told = faults({"DATABASE_URL": url})
    assert "DATABASE_URL" in told[0]
    assert "should start with sqlite://" in told[0]
    assert "s3cret" not in " ".join(told)


def test_a_data_directory_that_is_no_text_is_a_fault() -> None:
    (fault, _) = faults({"NOCOHOST_DATA_DIR": "/tmp/\udcff"})
    assert fault.startswith("NOCOHOST_DATA_DIR:")
    assert "UTF-8" in fault
