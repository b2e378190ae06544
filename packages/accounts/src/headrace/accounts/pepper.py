"""Where the pepper comes from: the settings, or a file that is made once."""

import os
import secrets
from pathlib import Path

from headrace.accounts.database import DatabaseAddress
from headrace.accounts.secrets import Pepper
from headrace.schema.settings import AccountsSettings, StorageSettings

FILE = "accounts.pepper"
LEAST_LENGTH = 32


def read_pepper(settings: AccountsSettings, storage: StorageSettings, address: DatabaseAddress) -> Pepper:
    """Return the pepper; it reads and may write a file, so call it before there is an event loop.

    Raises:
        ValueError: there is none, or it is not one; the message names the setting.
    """
    if settings.pepper is not None:
        value = settings.pepper.reveal()
        if len(value) < LEAST_LENGTH:
            raise ValueError(f"accounts.pepper: it must have {LEAST_LENGTH} characters or more")
        return Pepper(value)
    if address.kind == "postgresql":
        # Each host would make its own, and no key of one would work at another.
        raise ValueError(
            "accounts.pepper: with PostgreSQL every gateway needs the same one: set HEADRACE_ACCOUNTS_PEPPER, or "
            "HEADRACE_ACCOUNTS_PEPPER_FILE to the name of a file that holds it"
        )
    return _read_file(Path(storage.folder) / FILE)


def _read_file(path: Path) -> Pepper:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make_file(path)
        value = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"accounts.pepper: {path}: {error.strerror}") from None
    if len(value) < LEAST_LENGTH:
        raise ValueError(f"accounts.pepper: {path} must hold {LEAST_LENGTH} characters or more")
    return Pepper(value)


def _make_file(path: Path) -> None:
    # Written aside and linked: of processes that start together one wins, and nobody reads half a file.
    aside = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(48) + "\n")
        try:
            path.hardlink_to(aside)
        except FileExistsError:
            return
    finally:
        aside.unlink(missing_ok=True)
