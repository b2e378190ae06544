"""What every object store promises, and payloads on top of it."""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
from msgspec import structs
from structlog.testing import capture_logs

from headrace.scheduler.large import LargeRequests
from headrace.schema.payload import PayloadRef
from headrace.schema.settings import ObjectSettings
from headrace.transport.objects import (
    FileObjectStore,
    ObjectMissingError,
    ObjectStore,
    ObjectStoreError,
    PayloadError,
    PayloadStore,
)
from headrace.transport.objects.s3 import S3ObjectStore
from tests.support.s3 import flaky_s3, running_s3, use_s3

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


async def test_a_gateway_asks_the_bucket_at_its_start_and_says_so(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = use_s3(endpoint, monkeypatch, bucket="asked")
    large = LargeRequests(PayloadStore(S3ObjectStore("asked", "here/")), ObjectSettings(expire_seconds=86400.0))
    with capture_logs() as logs:
        large.start()
        async with asyncio.timeout(20):
            while not any(line["event"] == "payload rule set" for line in logs):
                await asyncio.to_thread(len, logs)
    await large.close()
    (rule,) = client.get_bucket_lifecycle_configuration(Bucket="asked")["Rules"]
    assert (rule["Filter"]["Prefix"], rule["Expiration"]["Days"]) == ("here/", 2)


async def test_a_folder_has_no_such_rule(tmp_path: Path) -> None:
    assert await FileObjectStore(tmp_path).expire(days=1) is False


async def test_a_bucket_that_takes_no_rule_is_said_and_harms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with flaky_s3(failures=1000) as (address, _calls):
        _point_at(address, monkeypatch)
        payloads = PayloadStore(S3ObjectStore(BUCKET, ""))
        with capture_logs() as logs:
            await payloads.expire(days=1)
        await payloads.close()
    assert [(line["event"], line["log_level"]) for line in logs] == [("payload rule refused", "warning")]


@pytest.mark.parametrize("failures", [1, 4])
async def test_a_bucket_that_fails_for_a_moment_is_tried_again(failures: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once is what boto3 bears by itself; more often is what we do."""
    with flaky_s3(failures=failures) as (address, calls):
        _point_at(address, monkeypatch)
        payloads = PayloadStore(S3ObjectStore(BUCKET, ""))
        ref = await payloads.save("a", b"payload")
        assert len(calls) == failures + 1
        calls.clear()
        assert await payloads.load(ref) == b"payload"
        assert len(calls) == failures + 1
        await payloads.close()


def _point_at(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    # The words of the store, not a checksum of boto3's own around the body.
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
