"""From what a person writes in a setting to a folder that an engine can load."""

from __future__ import annotations

from pathlib import Path

from headrace.models.demo import DEMO_MODEL_NAME, ensure_demo_model
from headrace.models.errors import WeightsError
from headrace.models.llama_folder import CONFIG_FILE
from headrace.models.model_folder import ensure_model_folder
from headrace.models.progress import ProgressCallback
from headrace.models.tiny import TINY_MODEL_NAME, TINY_ORIGIN, write_tiny_model

DEMO_SOURCE = f"demo:{DEMO_MODEL_NAME}"
TINY_SOURCE = "tiny:random"
S3_PREFIX = "s3://"

_GENERATED_PREFIXES = ("demo:", "tiny:")


def resolve_weights(source: str, *, cache_folder: Path, on_progress: ProgressCallback) -> Path:
    """Return the folder that holds a model's weights, and make it where that is ours to do.

    Blocks for as long as a fetch takes: call it before there is an event loop.

    Args:
        source: The model setting: `demo:smollm2-135m-instruct`, `tiny:random`, `s3://BUCKET/FOLDER`, or the path of a
            folder.
        cache_folder: Where models that we make are kept, each in a folder of its own.
        on_progress: Told about each step.

    Raises:
        WeightsError: The setting names no such model, or the model could not be made.
    """
    if source == DEMO_SOURCE:
        return ensure_demo_model(cache_folder / DEMO_MODEL_NAME, on_progress=on_progress)
    if source == TINY_SOURCE:
        folder = cache_folder / TINY_MODEL_NAME
        return ensure_model_folder(folder, TINY_ORIGIN, fill=write_tiny_model, on_progress=on_progress)
    if source.startswith(S3_PREFIX):
        return _resolve_s3(source, cache_folder, on_progress)
    if source.startswith(_GENERATED_PREFIXES):
        message = f"the model setting {source!r} is not known; {DEMO_SOURCE} and {TINY_SOURCE} are"
        raise WeightsError(message)
    return _check_local_folder(source)


def _resolve_s3(source: str, cache_folder: Path, on_progress: ProgressCallback) -> Path:
    # boto3 takes a third of a second to import, and most sources do not need it.
    from headrace.models.s3 import S3Location, fetch_from_s3

    location = S3Location.parse(source)
    return ensure_model_folder(
        cache_folder / location.folder_name,
        location.origin,
        fill=lambda folder: fetch_from_s3(location, folder, on_progress=on_progress),
        on_progress=on_progress,
    )


def _check_local_folder(source: str) -> Path:
    folder = Path(source).expanduser()
    if source and (folder / CONFIG_FILE).is_file():
        return folder
    if not source:
        problem = "is empty; give the path of a model's folder"
    elif not folder.is_dir():
        problem = "names no folder on this machine; download the model first and give its path"
    else:
        problem = f"names a folder without a {CONFIG_FILE}; give the folder that holds the model's own files"
    message = f"the model setting {source!r} {problem}, or choose {DEMO_SOURCE} or {TINY_SOURCE}"
    raise WeightsError(message)
