# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
"""How full vLLM's KV cache is, without the statistics that cost it time on every token.

vLLM tells it in the statistics of its scheduler, which are off here. The scheduler inside the engine's process sends
the one figure that is wanted, now and then; see `scheduler`.
"""

import time
from typing import Any

from vllm.v1.metrics.stats import SchedulerStats

REPORT_SECONDS = 0.05


class LoadReport:
    """Made in the engine's process: says when the load is worth telling."""

    def __init__(self) -> None:
        self._told_at = 0.0
        self._told_count = -1

    def make(self, scheduler: Any) -> Any:
        """Return the load of a scheduler, or None where it was told a moment ago and nobody came or left."""
        now, count = time.monotonic(), len(scheduler.requests)
        if count == self._told_count and now - self._told_at < REPORT_SECONDS:
            return None
        self._told_at, self._told_count = now, count
        return SchedulerStats(kv_cache_usage=scheduler.kv_cache_manager.usage)


class LoadGauge:
    """In our own process: hears the reports.

    Args:
        llm: the engine, whose output processor is handed every report.

    Attributes:
        usage: the share of the KV cache that is in use, 0 to 1.
    """

    def __init__(self, llm: Any) -> None:
        self.usage = 0.0
        cache = llm.vllm_config.cache_config
        self.total_tokens = int(cache.num_gpu_blocks or 0) * int(cache.block_size or 0)
        processor = llm.output_processor
        pass_on = processor.update_scheduler_stats

        def take(stats: Any) -> None:
            if stats is not None:
                self.usage = float(stats.kv_cache_usage)
            pass_on(stats)

        processor.update_scheduler_stats = take
