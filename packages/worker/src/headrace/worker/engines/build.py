"""Choosing an engine: the one place that knows which kinds there are."""

from collections.abc import Mapping
from pathlib import Path

from headrace.schema.settings import EngineSettings, ModelSettings
from headrace.worker.engines.base import Engine, EngineSetupError
from headrace.worker.engines.memory import check_memory, list_needs
from headrace.worker.engines.scripted import Script, ScriptedEngine, ScriptError
from headrace.worker.engines.vllm.make import find_memory, make_vllm_engine


def build_engines(
    models: Mapping[str, ModelSettings],
    *,
    engine: EngineSettings,
    weights: Mapping[str, Path],
    script_text: str | None,
) -> dict[str, Engine]:
    """Make an engine for each model of a worker; see `build_engine`.

    Args:
        models: their settings, by served name.
        engine: settings of every engine.
        weights: the folders with their weights; a model on the scripted engine has none.
        script_text: what is in the script's file, None for the built-in one.

    Raises:
        EngineSetupError: one can't be made, or this machine has no memory for all of them.
    """
    if len(models) > 1 and weights:
        memory = find_memory(cpu_threads=engine.cpu_threads)
        check_memory(list_needs(models, weights, memory), memory)
    return {
        name: build_engine(model, name=name, engine=engine, weights=weights.get(name), script_text=script_text)
        for name, model in models.items()
    }


def build_engine(
    model: ModelSettings, *, name: str, engine: EngineSettings, weights: Path | None, script_text: str | None
) -> Engine:
    """Make the engine of a model. May block for as long as loading a model takes.

    Call it on the main thread, before the process has other threads or an event loop.

    Args:
        model: the model's settings.
        name: its served name.
        engine: settings of every engine.
        weights: the folder with the weights; the scripted engine needs none.
        script_text: what is in the script's file, None for the built-in one.

    Raises:
        EngineSetupError: the settings do not make an engine, or this machine can't run it.
    """
    kind = engine.kind if model.engine == "default" else model.engine
    if kind == "scripted":
        try:
            script = Script() if script_text is None else Script.parse(script_text)
        except ScriptError as error:
            raise EngineSetupError(str(error)) from error
        return ScriptedEngine(script, slots=model.slots, max_model_tokens=model.max_model_tokens)
    if weights is None:
        raise EngineSetupError(f"models.{name}.weights is empty, and the vLLM engine needs a folder with weights")
    return make_vllm_engine(model, name=name, weights=weights, cpu_threads=engine.cpu_threads)
