"""The manifest: what makes a folder finished, and how damage shows."""

from pathlib import Path

import pytest

from headrace.models.manifest import (
    MANIFEST_FILE,
    ModelOrigin,
    find_damaged_files,
    is_finished,
    read_manifest,
    write_manifest,
)

ORIGIN = ModelOrigin(name="sample", source="a test", licence="Apache-2.0", recipe=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "weights").write_bytes(b"12345678")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "config").write_bytes(b"{}")
    write_manifest(tmp_path, ORIGIN)
    return tmp_path


def test_a_manifest_names_every_file_but_itself(folder: Path) -> None:
    manifest = read_manifest(folder)

    assert manifest is not None
    assert [(file.path, file.size_bytes) for file in manifest.files] == [("more/config", 2), ("weights", 8)]


def test_a_whole_folder_is_finished_and_undamaged(folder: Path) -> None:
    assert is_finished(folder, ORIGIN)
    assert find_damaged_files(folder) == []


def test_a_folder_without_a_manifest_is_not_finished(folder: Path) -> None:
    (folder / MANIFEST_FILE).unlink()

    assert not is_finished(folder, ORIGIN)
    assert find_damaged_files(folder) == [MANIFEST_FILE]


def test_a_manifest_that_cannot_be_read_counts_as_none(folder: Path) -> None:
    (folder / MANIFEST_FILE).write_bytes(b'{"origin": ')

    assert not is_finished(folder, ORIGIN)


@pytest.mark.parametrize("path", ["weights", "more/config"])
def test_a_missing_file_is_seen(folder: Path, path: str) -> None:
    (folder / path).unlink()

    assert not is_finished(folder, ORIGIN)
    assert find_damaged_files(folder) == [path]


def test_a_file_that_was_cut_short_is_seen(folder: Path) -> None:
    (folder / "weights").write_bytes(b"1234")

    assert not is_finished(folder, ORIGIN)


def test_a_changed_byte_is_seen_by_the_thorough_check(folder: Path) -> None:
    (folder / "weights").write_bytes(b"12345679")

    assert is_finished(folder, ORIGIN)
    assert find_damaged_files(folder) == ["weights"]


def test_a_folder_that_an_older_recipe_made_is_not_finished(folder: Path) -> None:
    newer = ModelOrigin(name="sample", source="a test", licence="Apache-2.0", recipe=2)

    assert not is_finished(folder, newer)
