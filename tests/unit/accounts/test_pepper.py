"""Where the pepper comes from."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from headrace.accounts.database import read_address
from headrace.accounts.pepper import FILE, read_pepper
from headrace.accounts.secrets import Pepper
from headrace.schema.settings import AccountsSettings, Secret, StorageSettings


def read(settings: AccountsSettings, folder: Path) -> Pepper:
    storage = StorageSettings(folder=str(folder / "state"))
    return read_pepper(settings, storage, read_address(settings, storage))


def test_it_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    def hash_one(_: int) -> bytes:
        return read(AccountsSettings(), tmp_path).hash("key")

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(hash_one, range(16)))
    assert len(set(made)) == 1
    assert [path.name for path in (tmp_path / "state").iterdir()] == [FILE]
    assert stat.S_IMODE((tmp_path / "state" / FILE).stat().st_mode) == 0o600


def test_the_settings_win_over_the_file(tmp_path: Path) -> None:
    given = AccountsSettings(pepper=Secret("p" * 32))
    assert read(given, tmp_path).hash("key") == Pepper("p" * 32).hash("key")
    assert not (tmp_path / "state").exists()


def test_a_short_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"accounts\.pepper: it must have 32"):
        read(AccountsSettings(pepper=Secret("short")), tmp_path)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / FILE).write_text("short")
    with pytest.raises(ValueError, match=r"accounts\.pepper: .*32"):
        read(AccountsSettings(), tmp_path)


def test_gateways_of_several_hosts_must_be_given_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="HEADRACE_ACCOUNTS_PEPPER"):
        read(AccountsSettings(database_url="postgresql://db/accounts"), tmp_path)


def test_a_folder_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    with pytest.raises(ValueError, match=r"accounts\.pepper: "):
        read(AccountsSettings(), tmp_path)
