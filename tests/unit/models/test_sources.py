"""A model setting becomes a folder, or an error that names the setting and says what to do."""

import re
from pathlib import Path

import pytest

from headrace.models import TINY_SOURCE, WeightsError, ignore_progress, resolve_weights


def test_the_tiny_model_is_made_in_the_cache_once(tmp_path: Path) -> None:
    folder = resolve_weights(TINY_SOURCE, cache_folder=tmp_path, on_progress=ignore_progress)
    made_at = (folder / "manifest.json").stat().st_mtime_ns

    again = resolve_weights(TINY_SOURCE, cache_folder=tmp_path, on_progress=ignore_progress)

    assert folder == again == tmp_path / "tiny-random"
    assert (folder / "manifest.json").stat().st_mtime_ns == made_at


def test_a_local_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b"{}")

    assert resolve_weights(str(tmp_path), cache_folder=tmp_path / "none", on_progress=ignore_progress) == tmp_path
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("/no/such/folder", "names no folder on this machine"),
        ("someone/some-model", "download the model first"),
        ("demo:smollm3", "is not known"),
        ("tiny:", "is not known"),
        ("", "is empty"),
    ],
)
def test_a_setting_that_names_nothing_is_an_error_that_names_it(tmp_path: Path, source: str, problem: str) -> None:
    with pytest.raises(WeightsError, match=re.escape(problem)) as caught:
        resolve_weights(source, cache_folder=tmp_path, on_progress=ignore_progress)

    assert repr(source) in str(caught.value)
    assert "tiny:random" in str(caught.value)


def test_a_folder_without_a_config_is_an_error_that_names_both(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"without a config\.json") as caught:
        resolve_weights(str(tmp_path), cache_folder=tmp_path, on_progress=ignore_progress)

    assert str(tmp_path) in str(caught.value)
