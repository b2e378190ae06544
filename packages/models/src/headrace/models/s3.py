"""Weights out of an S3 bucket. The one module of this room that knows boto3.

Where the store is and who we are there, boto3 reads by itself, in the ways that every S3 tool shares:
`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_ENDPOINT_URL`, a profile, or the machine's role.
"""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import boto3
from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from headrace.models.errors import WeightsError
from headrace.models.llama_folder import CONFIG_FILE
from headrace.models.manifest import ModelOrigin
from headrace.models.progress import ProgressCallback
from headrace.models.sources import S3_PREFIX

RECIPE = 1


class S3Location(NamedTuple):
    """A folder in a bucket; the prefix ends with a slash, or is empty."""

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, source: str) -> S3Location:
        """Read `s3://BUCKET/PREFIX`.

        Raises:
            WeightsError: There is no bucket in it.
        """
        bucket, _, prefix = source.removeprefix(S3_PREFIX).partition("/")
        if not bucket:
            message = f"the model setting {source!r} names no bucket: write s3://BUCKET/FOLDER"
            raise WeightsError(message)
        prefix = prefix.strip("/")
        return cls(bucket, f"{prefix}/" if prefix else "")

    @property
    def folder_name(self) -> str:
        """A name for the cached copy that no other location has, and that a person recognises."""
        digest = hashlib.sha256(f"{self.bucket}/{self.prefix}".encode()).hexdigest()[:12]
        return f"{PurePosixPath(self.prefix).name or self.bucket}-{digest}"

    @property
    def origin(self) -> ModelOrigin:
        """What the cached copy's manifest says."""
        source = f"{S3_PREFIX}{self.bucket}/{self.prefix}"
        return ModelOrigin(name=self.folder_name, source=source, licence="unknown", recipe=RECIPE)


def fetch_from_s3(location: S3Location, folder: Path, *, on_progress: ProgressCallback) -> None:
    """Copy every object of a location into an empty folder. boto3 checks what it receives.

    Raises:
        WeightsError: The store refused, could not be reached, or holds no model there.
    """
    source = f"{S3_PREFIX}{location.bucket}/{location.prefix}"
    try:
        client = _open_client()
        sizes = _list_objects(client, location)
        if CONFIG_FILE not in sizes:
            message = f"{source} holds no {CONFIG_FILE}: give the folder that holds the model's own files"
            raise WeightsError(message)
        total, done = sum(sizes.values()), 0
        for name, size in sizes.items():
            target = _inside(folder, name, source)
            target.parent.mkdir(parents=True, exist_ok=True)
            client.download_file(location.bucket, location.prefix + name, str(target))
            done += size
            on_progress(f"fetch {source}", done=done, total=total)
    except (BotoCoreError, ClientError, Boto3Error) as error:
        message = (
            f"{source} can't be fetched: {error}. Check the address and the credentials "
            "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL)"
        )
        raise WeightsError(message) from error


def _open_client() -> Any:
    # A session of its own: boto3's shared one keeps the credentials that it saw first.
    return boto3.Session().client("s3")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def _list_objects(client: Any, location: S3Location) -> dict[str, int]:
    """Return the size of each object by its path below the prefix."""
    pages: Any = client.get_paginator("list_objects_v2").paginate(Bucket=location.bucket, Prefix=location.prefix)
    found: dict[str, int] = {}
    for page in pages:
        for item in page.get("Contents", ()):
            name = str(item["Key"]).removeprefix(location.prefix)
            if name and not name.endswith("/"):
                found[name] = int(item["Size"])
    return found


def _inside(folder: Path, name: str, source: str) -> Path:
    """Return where an object is kept; a key must not lead out of the folder."""
    target = (folder / name).resolve()
    if not target.is_relative_to(folder.resolve()):
        message = f"{source} holds an object whose name leads out of a folder: {name!r}"
        raise WeightsError(message)
    return target
