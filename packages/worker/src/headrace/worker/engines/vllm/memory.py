# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
"""How much memory vLLM finds on this machine, without touching a GPU: the process has yet to fork."""

import os
from contextlib import suppress
from pathlib import Path

from vllm.platforms import current_platform

from headrace.worker.engines.memory import MachineMemory
from headrace.worker.engines.vllm.options import CPU_KV_CACHE_BYTES

_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def measure_memory() -> MachineMemory:
    """Return the memory of the processor or of the first GPU, whichever vLLM runs on."""
    if not current_platform.is_cpu():
        return MachineMemory(kind="GPU memory", total_bytes=int(current_platform.get_device_total_memory()))
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return MachineMemory(kind="memory", total_bytes=min([total, *_read_limits()]), default_kv_bytes=CPU_KV_CACHE_BYTES)


def _read_limits() -> list[int]:
    """Return what a container may have; nothing where there is no limit."""
    limits: list[int] = []
    for path in _LIMITS:
        with suppress(OSError, ValueError):
            limits.append(int(path.read_text(encoding="ascii")))
    return limits
