"""Builds the parts of a worker from the settings; `headrace serve` builds its worker with the same functions."""

import secrets
import socket
from os import getpid
from pathlib import Path

from headrace.models import ProgressCallback, resolve_weights
from headrace.schema.settings import ModelSettings, Settings, SettingsError
from headrace.transport.objects import PayloadStore
from headrace.transport.replies import LargeReplies
from headrace.worker.engines.base import Engine
from headrace.worker.engines.build import build_engine


def find_model(settings: Settings) -> ModelSettings:
    """Return the settings of the model that this worker runs.

    Raises:
        SettingsError: there is none of that name.
    """
    try:
        return settings.models[settings.worker.model]
    except KeyError:
        known = ", ".join(settings.models)
        raise SettingsError(
            [f"worker.model: no model {settings.worker.model!r} in the settings; there is: {known}"]
        ) from None


def engine_kind(settings: Settings, model: ModelSettings) -> str:
    """Return which engine runs a model."""
    return settings.engine.kind if model.engine == "default" else model.engine


def find_weights(settings: Settings, on_progress: ProgressCallback) -> Path | None:
    """Return the folder of the model's weights, fetching them first where that is ours to do; None if none are needed.

    Raises:
        SettingsError: there is no such model.
        WeightsError: the weights can't be had.
    """
    model = find_model(settings)
    if engine_kind(settings, model) == "scripted":
        return None
    return resolve_weights(model.weights, cache_folder=models_folder(settings), on_progress=on_progress)


def make_engine(settings: Settings, weights: Path | None) -> Engine:
    """Make the engine. Call it before the process has threads: the engine may fork.

    Raises:
        SettingsError: the script can't be read.
        EngineSetupError: the engine can't be made.
    """
    return build_engine(
        find_model(settings),
        name=settings.worker.model,
        engine=settings.engine,
        weights=weights,
        script_text=_read_script(settings),
    )


def open_large_replies(settings: Settings, payloads: PayloadStore | None) -> LargeReplies | None:
    """Return the way of answers that are too large for the broker; None where there is no object store."""
    return None if payloads is None else LargeReplies(payloads, threshold_bytes=settings.objects.threshold_bytes)


def models_folder(settings: Settings) -> Path:
    """Return where weights are kept."""
    return Path(settings.storage.folder) / "models"


def _read_script(settings: Settings) -> str | None:
    if not settings.engine.script:
        return None
    try:
        return Path(settings.engine.script).read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError([f"engine.script: can't read {settings.engine.script}: {error.strerror}"]) from None


def make_worker_id() -> str:
    """Return a name that no other worker has, and that says where it runs."""
    return f"{socket.gethostname().split('.')[0]}-{getpid()}-{secrets.token_hex(3)}"
