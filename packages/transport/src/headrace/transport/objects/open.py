"""Opens the object store that the settings name."""

from pathlib import Path

from headrace.schema.settings import ObjectSettings
from headrace.transport.objects.base import ObjectStore
from headrace.transport.objects.file import FileObjectStore
from headrace.transport.objects.payloads import PayloadStore

S3_PREFIX = "s3://"


def open_payloads(settings: ObjectSettings) -> PayloadStore | None:
    """Return the store for large payloads, or None where the settings name none.

    Raises:
        ValueError: the URL can't be used.
    """
    check_objects_url(settings)
    return PayloadStore(_open_objects(settings)) if settings.url else None


def check_objects_url(settings: ObjectSettings) -> None:
    """Raise ValueError, naming the setting, unless the URL can be used or is empty."""
    url = settings.url
    if url.startswith(S3_PREFIX):
        if not url.removeprefix(S3_PREFIX).partition("/")[0]:
            raise ValueError(f"objects.url: {url!r} names no bucket: write s3://BUCKET/FOLDER")
    elif "://" in url:
        raise ValueError(f"objects.url: {url!r} is neither s3://BUCKET/FOLDER nor a folder")
    if settings.tls_ca_file and not Path(settings.tls_ca_file).is_file():
        raise ValueError(f"objects.tls_ca_file: there is no file {settings.tls_ca_file}")


def _open_objects(settings: ObjectSettings) -> ObjectStore:
    url = settings.url
    if url.startswith(S3_PREFIX):
        bucket, _, prefix = url.removeprefix(S3_PREFIX).partition("/")
        # Its import takes a quarter of a second, which those without a bucket need not wait for.
        from headrace.transport.objects.s3 import S3ObjectStore

        prefix = prefix.strip("/")
        return S3ObjectStore(bucket, f"{prefix}/" if prefix else "", ca_file=settings.tls_ca_file)
    return FileObjectStore(Path(url))
