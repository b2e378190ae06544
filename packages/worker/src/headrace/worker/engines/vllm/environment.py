"""Environment variables for vLLM and torch, which take some settings in no other way.

They must be set before either is imported: both read some of them only once, and children inherit them. This is the
one place where this package touches the environment.
"""

import os
from importlib import metadata
from importlib.util import find_spec

from headrace.worker.engines.base import EngineSetupError

# No engine of ours may phone home or fetch anything, and what it logs goes through our own logging.
_FORCED = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_CONFIGURE_LOGGING": "0",
}
# These an operator may set otherwise.
_DEFAULTS = {
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
}
_FORCED_ON_CPU = {
    # The executor in the engine's own process: two processes, not three.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
}
_DEFAULTS_ON_CPU = {
    # We run the model uncompiled; what is left to compile would stop everything for 15 seconds at the first request for
    # log probabilities.
    "TORCHDYNAMO_DISABLE": "1",
    # Bound to cores by vLLM, the engine leaves half of a small machine idle.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    # Threads that spin while they wait take the cores that the gateway, the broker and the other threads need: beside
    # other work on two cores, one sequence fell from 12 tokens a second to 2.
    "OMP_WAIT_POLICY": "PASSIVE",
}


def prepare_environment(*, cpu_threads: int) -> None:
    """Set what vLLM reads from the environment.

    Args:
        cpu_threads: threads of an engine on a CPU; 0 takes what the environment says, or else every core.

    Raises:
        EngineSetupError: vLLM is not installed.
    """
    if find_spec("vllm") is None:
        raise EngineSetupError("the vLLM engine is not installed: run `just engine`, or use --engine scripted")
    environment = os.environ  # noqa: TID251 - vLLM takes these in no other way
    environment.update(_FORCED)
    for name, value in _DEFAULTS.items():
        environment.setdefault(name, value)
    if _is_cpu_build():
        environment.update(_FORCED_ON_CPU)
        for name, value in _DEFAULTS_ON_CPU.items():
            environment.setdefault(name, value)
        if cpu_threads:
            environment["OMP_NUM_THREADS"] = str(cpu_threads)
        else:
            environment.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))


def choose_fork() -> None:
    """Make vLLM fork its engine process; only between making its configuration, which forces spawn, and its engine."""
    os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"  # noqa: TID251 - as above


def _is_cpu_build() -> bool:
    # vLLM's own rule, which can't be asked here: asking imports torch, and the thread count comes before that.
    try:
        return "cpu" in metadata.version("vllm")
    except metadata.PackageNotFoundError:
        return True
