"""Makes a model folder once, whoever asks and however often.

Several processes of one machine start together and want the same weights. One makes them, in a folder beside, and
renames it when it is whole; the others wait for the lock and find it. A process that dies half way leaves a partial
folder, which the next one clears away, and no lock: the system drops that with the process.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from headrace.models.errors import WeightsError
from headrace.models.manifest import ModelOrigin, is_finished, write_manifest
from headrace.models.progress import ProgressCallback


def ensure_model_folder(
    folder: Path, origin: ModelOrigin, *, fill: Callable[[Path], object], on_progress: ProgressCallback
) -> Path:
    """Return a folder that holds the model, and make it where it is missing, damaged or of another origin.

    Args:
        folder: The model's own folder; what lies there is replaced when it is not this model.
        origin: What the folder has to hold.
        fill: Writes the model's files into the empty folder that it is given.
        on_progress: Told about waiting; `fill` tells about its own steps.

    Raises:
        WeightsError: `fill` failed, or the disk did.
    """
    if is_finished(folder, origin):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _hold_lock(folder.with_name(f".{folder.name}.lock"), on_progress):
            if not is_finished(folder, origin):
                _make(folder, origin, fill)
    except OSError as error:
        message = f"the model folder {folder} can't be written ({error}); free space or choose another folder"
        raise WeightsError(message) from error
    return folder


def _make(folder: Path, origin: ModelOrigin, fill: Callable[[Path], object]) -> None:
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        fill(partial)
        write_manifest(partial, origin)
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _hold_lock(path: Path, on_progress: ProgressCallback) -> Generator[None]:
    # The file stays: removing it would let a third process lock a new one while a second still waits for the old.
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_progress("wait for another process", done=None, total=None)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
