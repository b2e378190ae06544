"""What a finished model folder holds, written into it last: a folder without a manifest was not finished.

Two checks read it. The quick one compares sizes and is made at each start; the thorough one compares hashes and is
for a person who suspects the disk.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

MANIFEST_FILE = "manifest.json"


class ModelOrigin(msgspec.Struct, frozen=True, kw_only=True):
    """Where weights come from. A folder of another origin is not the model that was asked for.

    Attributes:
        name: The model's name.
        source: What it was made of, exact enough to get it again.
        licence: Its licence, as an SPDX identifier.
        recipe: The version of our own code that made the folder; a new one makes old folders stale.
    """

    name: str
    source: str
    licence: str
    recipe: int


class ManifestFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of the folder."""

    path: str
    size_bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """`manifest.json`."""

    origin: ModelOrigin
    files: tuple[ManifestFile, ...]


def compute_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path, origin: ModelOrigin) -> Manifest:
    """Describe every file that lies in a folder, and write that beside them."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST_FILE)
    files = tuple(
        ManifestFile(
            path=path.relative_to(folder).as_posix(),
            size_bytes=path.stat().st_size,
            sha256=compute_sha256(path),
        )
        for path in paths
    )
    manifest = Manifest(origin=origin, files=files)
    encoded = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    (folder / MANIFEST_FILE).write_bytes(encoded + b"\n")
    return manifest


def read_manifest(folder: Path) -> Manifest | None:
    """Return a folder's manifest, or None where there is none that can be read."""
    try:
        return msgspec.json.decode((folder / MANIFEST_FILE).read_bytes(), type=Manifest)
    except (OSError, msgspec.MsgspecError):
        return None


def is_finished(folder: Path, origin: ModelOrigin) -> bool:
    """Tell whether a folder holds this model, with each file there in its full size. Reads no weights."""
    manifest = read_manifest(folder)
    if manifest is None or manifest.origin != origin:
        return False
    return all(_measure(folder / file.path) == file.size_bytes for file in manifest.files)


def find_damaged_files(folder: Path) -> list[str]:
    """Return the files whose bytes are not those of the manifest, or the manifest itself where it can't be read.

    Reads every byte: seconds for a small model, minutes for a large one.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        return [MANIFEST_FILE]
    return [file.path for file in manifest.files if not _is_intact(folder / file.path, file)]


def _is_intact(path: Path, file: ManifestFile) -> bool:
    return _measure(path) == file.size_bytes and compute_sha256(path) == file.sha256


def _measure(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
