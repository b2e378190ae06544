"""The object store: what is too large for the broker travels through it, by reference."""

from headrace.transport.objects.base import ObjectMissingError, ObjectStore, ObjectStoreError
from headrace.transport.objects.file import FileObjectStore
from headrace.transport.objects.payloads import PayloadError, PayloadStore
from headrace.transport.objects.s3 import S3ObjectStore

__all__ = [
    "FileObjectStore",
    "ObjectMissingError",
    "ObjectStore",
    "ObjectStoreError",
    "PayloadError",
    "PayloadStore",
    "S3ObjectStore",
]
