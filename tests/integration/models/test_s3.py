"""Weights out of a real S3 server."""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from headrace.apps.cli.nodes import free_ports
from headrace.models import WeightsError, ignore_progress, resolve_weights, write_tiny_model

BUCKET = "weights"
START_SECONDS = 40

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform != "linux", reason="the server's package is for Linux"),
    # boto3 announces the end of support for this Python; that is not for our tests to say.
    pytest.mark.filterwarnings("ignore::boto3.exceptions.PythonDeprecationWarning"),
]


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The address of an S3 server of this test run."""
    weed = shutil.which("weed", path=str(Path(sys.executable).parent))
    assert weed is not None
    folder = tmp_path_factory.mktemp("s3")
    (folder / "s3.json").write_text(
        '{"identities":[{"name":"test","credentials":[{"accessKey":"key","secretKey":"secret"}],"actions":["Admin"]}]}'
    )
    s3, master, volume, filer = free_ports(4)
    grpc = free_ports(4)
    command = [weed, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"]
    command += [f"-master.port={master}", f"-master.port.grpc={grpc[0]}", f"-volume.port={volume}"]
    command += [f"-volume.port.grpc={grpc[1]}", f"-filer.port={filer}", f"-filer.port.grpc={grpc[2]}"]
    command += ["-s3", f"-s3.port={s3}", f"-s3.port.grpc={grpc[3]}", f"-s3.config={folder / 's3.json'}"]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, cwd=folder, stdout=log, stderr=log) as server:
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _listens(s3):
                assert time.monotonic() < deadline, (folder / "log").read_text()
                assert server.poll() is None, (folder / "log").read_text()
                time.sleep(0.1)
            yield f"http://127.0.0.1:{s3}"
        finally:
            server.kill()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.fixture
def store(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of the server; what is set here is what an operator sets."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = _open_client()
    deadline = time.monotonic() + START_SECONDS
    while not _has_bucket(client):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return client


def _open_client() -> Any:
    return boto3.Session().client("s3")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def _has_bucket(client: Any) -> bool:
    """Make the bucket; the server may need a moment more."""
    try:
        client.create_bucket(Bucket=BUCKET)
    except ClientError as error:
        return "BucketAlready" in str(error)
    return True


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
