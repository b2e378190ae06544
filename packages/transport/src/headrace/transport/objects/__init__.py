"""The object store: what is too large for the broker travels through it, by reference."""

from headrace.transport.objects.base import ObjectMissingError, ObjectStore, ObjectStoreError
from headrace.transport.objects.file import FileObjectStore
from headrace.transport.objects.open import check_objects_url, open_payloads
from headrace.transport.objects.payloads import PayloadError, PayloadStore

__all__ = [
    "FileObjectStore",
    "ObjectMissingError",
    "ObjectStore",
    "ObjectStoreError",
    "PayloadError",
    "PayloadStore",
    "check_objects_url",
    "open_payloads",
]
