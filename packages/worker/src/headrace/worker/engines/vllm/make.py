"""Making a vLLM engine, in the one order that works."""

import time
from pathlib import Path

from headrace.schema.settings import ModelSettings
from headrace.worker.engines.base import Engine, EngineSetupError
from headrace.worker.engines.memory import MachineMemory
from headrace.worker.engines.vllm.adapters import read_adapters
from headrace.worker.engines.vllm.environment import prepare_environment
from headrace.worker.engines.vllm.options import engine_arguments
from headrace.worker.engines.vllm.quiet import drop_expected_warnings, quiet_levels


def find_memory(*, cpu_threads: int) -> MachineMemory:
    """Return what memory there is for models on vLLM.

    Raises:
        EngineSetupError: vLLM is not installed.
    """
    prepare_environment(cpu_threads=cpu_threads)
    quiet_levels()
    try:
        # It imports vLLM, which reads the environment when it is imported.
        from headrace.worker.engines.vllm.memory import measure_memory
    except ImportError as error:
        raise EngineSetupError(f"the vLLM engine is installed but does not load: {error}; run `just engine`") from error
    return measure_memory()


def make_vllm_engine(model: ModelSettings, *, name: str, weights: Path, cpu_threads: int) -> Engine:
    """Start vLLM's engine process and wait until it has loaded the model. Blocks for seconds to minutes.

    Call it on the main thread, before there are others: it forks.

    Args:
        model: the model's settings.
        name: its served name.
        weights: the folder with its weights.
        cpu_threads: threads on a CPU; 0 takes every core.

    Raises:
        EngineSetupError: vLLM is not installed, or can't make an engine from these settings.
    """
    began_at = time.monotonic()
    prepare_environment(cpu_threads=cpu_threads)
    quiet_levels()
    try:
        # Both import vLLM, which reads the environment when it is imported.
        from headrace.worker.engines.vllm.engine import VllmEngine
        from headrace.worker.engines.vllm.library import VllmLibrary, find_machine, list_arguments
        from headrace.worker.engines.vllm.pooling.engine import PoolingEngine
        from headrace.worker.engines.vllm.reading.vendor import ParserNames
    except ImportError as error:
        raise EngineSetupError(f"the vLLM engine is installed but does not load: {error}; run `just engine`") from error
    machine = find_machine()
    drop_expected_warnings(is_cpu=machine.is_cpu)
    adapters = read_adapters(model.adapters, model=name, weights=weights)
    arguments = engine_arguments(
        model, name=name, weights=weights, known=list_arguments(), machine=machine, adapters=adapters
    )
    parsers = ParserNames(name, model.tool_parser, model.reasoning_parser)
    library = VllmLibrary(arguments, machine, adapters, parsers)
    if model.task == "embed":
        return PoolingEngine(library, name=name, slots=model.slots, began_at=began_at)
    return VllmEngine(library, name=name, slots=model.slots, began_at=began_at)
