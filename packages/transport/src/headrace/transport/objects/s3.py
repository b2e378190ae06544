"""A bucket as the object store. The one module of this room that knows boto3.

Where the store is and who we are there, boto3 reads by itself, in the ways that every S3 tool shares. Its calls block,
so each runs in one of a few threads.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from headrace.transport.objects.base import ObjectMissingError, ObjectStoreError

THREADS = 8
EXPIRY_RULE = "headrace-payloads"

_T = TypeVar("_T")


class S3ObjectStore:
    """`ObjectStore` in a bucket.

    Args:
        bucket: its name.
        prefix: what our names begin with in the bucket; empty, or ends with a slash.
        ca_file: authorities that the store's certificate is checked against; empty for those of the system.
    """

    def __init__(self, bucket: str, prefix: str, *, ca_file: str = "") -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="objects")
        config = Config(
            connect_timeout=3,
            read_timeout=20,
            max_pool_connections=THREADS,
            retries={"mode": "standard", "total_max_attempts": 3},
        )
        # A session of its own: boto3's shared one keeps the credentials that it saw first.
        self._client: Any = boto3.Session().client("s3", config=config, verify=ca_file or None)  # pyright: ignore[reportUnknownMemberType]

    async def put(self, name: str, data: bytes) -> None:
        """Keep an object."""
        await self._call(lambda: self._client.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=data))

    async def get(self, name: str, *, most_bytes: int) -> bytes:
        """Return an object."""
        return await self._call(lambda: self._get(name, most_bytes))

    def _get(self, name: str, most_bytes: int) -> bytes:
        answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)
        with answer["Body"] as body:
            return bytes(body.read(most_bytes + 1))

    async def delete(self, name: str) -> None:
        """Remove an object."""
        await self._call(lambda: self._client.delete_object(Bucket=self._bucket, Key=self._prefix + name))

    async def sweep(self, *, older_than_seconds: float) -> int:
        """Remove what is old."""
        return await self._call(lambda: self._sweep(datetime.now(UTC) - timedelta(seconds=older_than_seconds)))

    def _sweep(self, before: datetime) -> int:
        removed = 0
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
        for page in pages:
            for item in page.get("Contents", ()):
                if item["LastModified"] < before:
                    self._client.delete_object(Bucket=self._bucket, Key=item["Key"])
                    removed += 1
        return removed

    async def expire(self, *, days: int) -> None:
        """Ask the bucket to remove what is left over after so many days, should nobody sweep any more.

        Raises:
            ObjectStoreError: the store does not take the rule.
        """
        await self._call(lambda: self._expire(days))

    def _expire(self, days: int) -> None:
        bucket = self._bucket
        try:
            known: list[Any] = self._client.get_bucket_lifecycle_configuration(Bucket=bucket).get("Rules", [])
        except ClientError as error:
            if _code_of(error) != "NoSuchLifecycleConfiguration":
                raise
            known = []
        # The bucket may have rules of its owner's, and a rule can only be written together with all others.
        rules = [rule for rule in known if rule.get("ID") != EXPIRY_RULE]
        ours = {
            "ID": EXPIRY_RULE,
            "Status": "Enabled",
            "Filter": {"Prefix": self._prefix},
            "Expiration": {"Days": days},
        }
        self._client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [*rules, ours]})

    async def close(self) -> None:
        """End the threads and the connections."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    async def _call(self, work: Callable[[], _T]) -> _T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except ClientError as error:
            code = _code_of(error)
            if code in ("NoSuchKey", "404"):
                raise ObjectMissingError("there is no such object in the bucket") from None
            raise ObjectStoreError(f"the object store refused: {code}") from None
        except (BotoCoreError, OSError) as error:
            raise ObjectStoreError(f"the object store can't be reached: {type(error).__name__}") from None


def _code_of(error: ClientError) -> str:
    response: Any = error.response
    return str(response.get("Error", {}).get("Code", ""))
