"""Weights out of a real S3 server."""

import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from headrace.models import WeightsError, ignore_progress, resolve_weights, write_tiny_model
from tests.support.s3 import running_s3, use_s3

BUCKET = "weights"

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform != "linux", reason="the server's package is for Linux"),
    # boto3 announces the end of support for this Python; that is not for our tests to say.
    pytest.mark.filterwarnings("ignore::boto3.exceptions.PythonDeprecationWarning"),
]


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The address of an S3 server of this test run."""
    with running_s3(tmp_path_factory.mktemp("s3")) as address:
        yield address


@pytest.fixture
def store(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of the server."""
    return use_s3(endpoint, monkeypatch, bucket=BUCKET)


def _push(store: Any, folder: Path, prefix: str) -> None:
    for file in folder.iterdir():
        store.upload_file(str(file), BUCKET, f"{prefix}/{file.name}")


def test_a_model_is_fetched_once_and_kept(store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = write_tiny_model(tmp_path / "made")
    _push(store, made, "models/tiny-1")
    steps: list[tuple[int | None, int | None]] = []

    def note(step: str, *, done: int | None, total: int | None) -> None:
        steps.append((done, total))

    source = f"s3://{BUCKET}/models/tiny-1"
    folder = resolve_weights(source, cache_folder=tmp_path / "cache", on_progress=note)
    for file in made.iterdir():
        assert (folder / file.name).read_bytes() == file.read_bytes()
    assert steps[-1][0] == steps[-1][1]
    # A second start needs no server.
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert resolve_weights(source, cache_folder=tmp_path / "cache", on_progress=ignore_progress) == folder


def test_a_prefix_without_a_model_is_named(store: Any, tmp_path: Path) -> None:
    store.put_object(Bucket=BUCKET, Key="other/readme.txt", Body=b"nothing here")
    with pytest.raises(WeightsError, match=r"s3://weights/other/ holds no config\.json"):
        resolve_weights(f"s3://{BUCKET}/other", cache_folder=tmp_path, on_progress=ignore_progress)
    assert [path for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []


def test_wrong_credentials_are_named_and_not_shown(store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret-but-wrong")
    with pytest.raises(WeightsError, match="AWS_SECRET_ACCESS_KEY") as caught:
        resolve_weights(f"s3://{BUCKET}/models/tiny-1", cache_folder=tmp_path, on_progress=ignore_progress)
    assert "s3cret-but-wrong" not in str(caught.value)


def test_a_source_without_a_bucket_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="names no bucket"):
        resolve_weights("s3://", cache_folder=tmp_path, on_progress=ignore_progress)
