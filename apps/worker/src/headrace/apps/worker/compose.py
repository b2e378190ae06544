"""Builds the parts of a worker from the settings; `headrace serve` builds its worker with the same functions."""

import secrets
import socket
from collections.abc import Mapping, Sequence
from os import getpid
from pathlib import Path

from headrace.models import ProgressCallback, resolve_weights
from headrace.schema.settings import ModelSettings, Settings, SettingsError
from headrace.transport.last_words import LastWords
from headrace.transport.objects import PayloadStore
from headrace.transport.redis import RedisLastWords
from headrace.transport.replies import LargeReplies
from headrace.worker.engines.base import Engine
from headrace.worker.engines.build import build_engines
from headrace.worker.observer import WorkerObserver
from headrace.worker.station import Station, make_station


def find_models(settings: Settings) -> dict[str, ModelSettings]:
    """Return the settings of the models that this worker runs, by name.

    Raises:
        SettingsError: there is none of a name.
    """
    wanted, known = settings.worker.served, ", ".join(settings.models)
    where = "worker.models" if settings.worker.models else "worker.model"
    if problems := [
        f"{where}: no model {name!r} in the settings; there is: {known}"
        for name in wanted
        if name not in settings.models
    ]:
        raise SettingsError(problems)
    return {name: settings.models[name] for name in wanted}


def engine_kind(settings: Settings, model: ModelSettings) -> str:
    """Return which engine runs a model."""
    return settings.engine.kind if model.engine == "default" else model.engine


def find_weights(settings: Settings, on_progress: ProgressCallback) -> dict[str, Path]:
    """Return the folders of the models' weights, fetching them first where that is ours to do.

    A model that needs none has none.

    Raises:
        SettingsError: there is no such model.
        WeightsError: the weights can't be had.
    """
    return {
        name: resolve_weights(model.weights, cache_folder=models_folder(settings), on_progress=on_progress)
        for name, model in find_models(settings).items()
        if engine_kind(settings, model) != "scripted"
    }


def make_engines(settings: Settings, weights: Mapping[str, Path]) -> dict[str, Engine]:
    """Make the engine of each model. Call it before the process has threads: engines may fork.

    Raises:
        SettingsError: the script can't be read.
        EngineSetupError: an engine can't be made, or this machine has no memory for all of them.
    """
    return build_engines(
        find_models(settings), engine=settings.engine, weights=weights, script_text=_read_script(settings)
    )


def make_stations(
    settings: Settings, engines: Mapping[str, Engine], observers: Sequence[WorkerObserver]
) -> list[Station]:
    """Return what serves each model."""
    return [
        make_station(
            engine,
            settings.models[name],
            model=name,
            patience_seconds=settings.worker.batch_patience_seconds,
            observers=observers,
        )
        for name, engine in engines.items()
    ]


def open_large_replies(settings: Settings, payloads: PayloadStore | None) -> LargeReplies | None:
    """Return the way of answers that are too large for the broker; None where there is no object store."""
    return None if payloads is None else LargeReplies(payloads, threshold_bytes=settings.objects.threshold_bytes)


def open_last_words(settings: Settings) -> LastWords | None:
    """Return where a worker leaves what orphaned generations have used; None where there is no Redis.

    A worker inside of its gateway's process dies with it, and leaves nothing.
    """
    if settings.broker.url.startswith("memory:") or not settings.redis.url:
        return None
    return RedisLastWords(settings.redis)


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


def choose_models(names: Sequence[str] | None) -> dict[str, object]:
    """Return the settings that `--model`, once or several times, stands for."""
    if not names:
        return {}
    return {"worker.model": names[0], "worker.models": tuple(names) if len(names) > 1 else ()}
