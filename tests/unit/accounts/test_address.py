"""From the settings to where the database is."""

import ssl
from pathlib import Path
from typing import Any

import pytest

from headrace.accounts.database import DatabaseAddress, read_address
from headrace.schema.settings import AccountsSettings, Secret, StorageSettings


def read(**settings: Any) -> DatabaseAddress:
    return read_address(AccountsSettings(**settings), StorageSettings(folder="state"))


def test_the_default_is_a_file_in_the_storage_folder() -> None:
    address = read()
    assert (address.kind, address.file) == ("sqlite", Path("state/accounts.sqlite3"))


@pytest.mark.parametrize(
    ("url", "file"),
    [("sqlite:///a.db", "a.db"), ("sqlite:///a/b c.db", "a/b c.db"), ("sqlite:////var/a.db", "/var/a.db")],
)
def test_a_file_is_one_with_a_path(url: str, file: str) -> None:
    assert read(database_url=url).file == Path(file)


def test_a_server_with_a_password_that_nobody_is_shown() -> None:
    address = read(
        database_url="postgresql://db:6000/accounts", database_username="me", database_password=Secret("p@ss/word")
    )
    assert (address.kind, address.url.host, address.url.port, address.url.username) == ("postgresql", "db", 6000, "me")
    assert address.options["password"] == "p@ss/word"
    assert "p@ss" not in address.shown + str(address.url)
    assert read(database_url="postgres://you:secret@db/accounts").options["password"] == "secret"


@pytest.mark.parametrize(
    "url",
    [
        "mysql://db/accounts",
        "postgresql:///accounts",
        "postgresql://db",
        "postgresql://db/a?sslmode=disable",
        "sqlite://",
        "sqlite:///:memory:",
        "nothing",
        "postgresql://you:secret@db:port/a",
    ],
)
def test_what_is_no_database_names_the_setting_and_no_secret(url: str) -> None:
    with pytest.raises(ValueError, match=r"^accounts\.database_url: ") as caught:
        read(database_url=url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("mode", "host", "checks"),
    [
        ("auto", "127.0.0.1", None),
        ("auto", "localhost", None),
        ("auto", "db", (ssl.CERT_REQUIRED, True)),
        ("disable", "db", None),
        ("require", "db", (ssl.CERT_NONE, False)),
        ("verify-ca", "db", (ssl.CERT_REQUIRED, False)),
        ("verify-full", "127.0.0.1", (ssl.CERT_REQUIRED, True)),
    ],
)
def test_how_much_of_the_server_is_checked(mode: str, host: str, checks: tuple[Any, bool] | None) -> None:
    context = read(database_url=f"postgresql://{host}/a", database_tls=mode).options["ssl"]
    found = (context.verify_mode, context.check_hostname) if isinstance(context, ssl.SSLContext) else None
    assert found == checks


@pytest.mark.parametrize("name", ["database_tls_ca_file", "database_tls_certificate_file"])
def test_a_file_of_tls_that_is_not_there_names_its_setting(name: str) -> None:
    with pytest.raises(ValueError, match=rf"^accounts\.{name}: "):
        read(database_url="postgresql://db/a", **{name: "/nowhere.pem"})
