"""What every object store promises, and payloads on top of it."""

import os
import sys
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
from msgspec import structs

from headrace.schema.payload import PayloadRef
from headrace.transport.objects import (
    FileObjectStore,
    ObjectMissingError,
    ObjectStore,
    ObjectStoreError,
    PayloadError,
    PayloadStore,
)
from headrace.transport.objects.s3 import S3ObjectStore
from tests.support.s3 import running_s3, use_s3

BUCKET = "payloads"
LARGE = 1024 * 1024

pytestmark = [
    pytest.mark.timeout(120),
    # boto3 announces the end of support for this Python; that is not for our tests to say.
    pytest.mark.filterwarnings("ignore::boto3.exceptions.PythonDeprecationWarning"),
]


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    with running_s3(tmp_path_factory.mktemp("s3")) as address:
        yield address


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.skipif(sys.platform != "linux", reason="Linux"))])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[ObjectStore]:
    made: ObjectStore
    if request.param == "file":
        made = FileObjectStore(tmp_path / "objects")
    else:
        use_s3(request.getfixturevalue("endpoint"), monkeypatch, bucket=BUCKET)
        made = S3ObjectStore(BUCKET, "of-headrace/")
        await made.sweep(older_than_seconds=-60)
    yield made
    await made.close()


async def test_what_was_put_is_there(store: ObjectStore) -> None:
    data = os.urandom(LARGE)
    await store.put("tasks/gen_1", data)
    assert await store.get("tasks/gen_1", most_bytes=LARGE) == data


async def test_the_last_one_put_is_there(store: ObjectStore) -> None:
    await store.put("a", b"first")
    await store.put("a", b"second")
    assert await store.get("a", most_bytes=100) == b"second"


async def test_no_more_is_read_than_was_asked_for(store: ObjectStore) -> None:
    await store.put("a", b"x" * 1000)
    assert len(await store.get("a", most_bytes=10)) == 11


async def test_what_is_not_there_is_missing(store: ObjectStore) -> None:
    with pytest.raises(ObjectMissingError):
        await store.get("nothing", most_bytes=1)


async def test_what_was_deleted_is_missing(store: ObjectStore) -> None:
    await store.put("a", b"x")
    await store.delete("a")
    await store.delete("a")
    with pytest.raises(ObjectMissingError):
        await store.get("a", most_bytes=1)


async def test_a_sweep_takes_only_what_is_old(store: ObjectStore) -> None:
    await store.put("a/b", b"x")
    assert await store.sweep(older_than_seconds=3600) == 0
    assert await store.sweep(older_than_seconds=-60) == 1
    with pytest.raises(ObjectMissingError):
        await store.get("a/b", most_bytes=1)


async def test_a_payload_comes_back(store: ObjectStore) -> None:
    payloads = PayloadStore(store)
    data = os.urandom(LARGE)
    ref = await payloads.save("tasks/gen_2", data)
    assert await payloads.load(ref) == data
    await payloads.discard(ref)
    with pytest.raises(PayloadError, match="gone"):
        await payloads.load(ref)


@pytest.mark.parametrize("altered", [b"other", b"payloaD", b"payload and more"])
async def test_an_altered_payload_is_refused(store: ObjectStore, altered: bytes) -> None:
    payloads = PayloadStore(store)
    ref = await payloads.save("a", b"payload")
    await store.put("a", altered)
    with pytest.raises(PayloadError, match="altered"):
        await payloads.load(ref)


async def test_leftovers_are_swept(store: ObjectStore) -> None:
    payloads = PayloadStore(store)
    ref = await payloads.save("a", b"payload")
    await payloads.sweep(older_than_seconds=-60)
    with pytest.raises(PayloadError, match="gone"):
        await payloads.load(ref)


@pytest.mark.parametrize("name", ["../out", "/etc/passwd", "a/../../b", "", ".hidden"])
async def test_a_name_never_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    store = FileObjectStore(tmp_path / "objects")
    with pytest.raises(ObjectMissingError):
        await store.put(name, b"x")


async def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = FileObjectStore(tmp_path / "file")
    with pytest.raises(ObjectStoreError):
        await store.put("a", b"x")
    ref = PayloadRef(key="a", size_bytes=1, sha256="0" * 64)
    with pytest.raises(PayloadError):
        await PayloadStore(store).load(structs.replace(ref, key="b"))


async def test_a_server_that_is_away_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do-not-tell")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    store = S3ObjectStore(BUCKET, "")
    with pytest.raises(ObjectStoreError) as caught:
        await store.put("a", b"x")
    assert "do-not-tell" not in str(caught.value)
    await store.close()


async def test_the_bucket_is_asked_to_expire_leftovers(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = use_s3(endpoint, monkeypatch, bucket=BUCKET)
    owners = {"ID": "owners", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 9}}
    client.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": [owners]})
    store = S3ObjectStore(BUCKET, "of-headrace/")
    await store.expire(days=1)
    await store.expire(days=2)
    rules = client.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    await store.close()
    assert {(rule["Filter"]["Prefix"], rule["Expiration"]["Days"]) for rule in rules} == {
        ("logs/", 9),
        ("of-headrace/", 2),
    }
