# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUntypedBaseClass=false
"""The scheduler inside the engine's process: it applies masks that requests bring, keeps lanes apart, tells its load.

vLLM masks tokens by a grammar that it keeps itself from a request's first token on. A beam's next token is a request of
its own whose grammar has gone on elsewhere, so it brings the mask. It goes the way of vLLM's own masks, which every
model runner has: they are applied to the logits before log probabilities are taken, so that these are of the masked
distribution. A custom logits processor would come after.
"""

import time
from collections.abc import Callable
from itertools import takewhile
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.output import GrammarOutput
from vllm.v1.core.sched.scheduler import Scheduler

from headrace.worker.engines.vllm.beam.masks import MASK_ARGUMENT, stack_masks
from headrace.worker.engines.vllm.load import LoadReport
from headrace.worker.engines.vllm.making_way import BatchRest, choose_victim, is_online


class _MaskTable:
    """The masks of requests that are in the scheduler."""

    def __init__(self) -> None:
        self._masks: dict[str, NDArray[np.int32]] = {}

    def note(self, request: Any) -> None:
        arguments: dict[str, Any] | None = getattr(request.sampling_params, "extra_args", None)
        if arguments is not None and (mask := arguments.get(MASK_ARGUMENT)) is not None:
            self._masks[request.request_id] = np.frombuffer(mask, dtype=np.int32)

    def extend(self, output: Any, scheduled: dict[str, int], requests: dict[str, Any]) -> Any:
        """Return vLLM's own masks and ours; and forget those whose request has gone."""
        if not self._masks:
            return output
        self._masks = {name: mask for name, mask in self._masks.items() if name in requests}
        names = [name for name in self._masks if name in scheduled and not requests[name].is_prefill_chunk]
        if not names:
            return output
        ours = [self._masks[name] for name in names]
        if output is None:
            return GrammarOutput(names, stack_masks(None, ours), [0] * len(names))
        return GrammarOutput(
            [*output.structured_output_request_ids, *names],
            stack_masks(output.grammar_bitmask, ours),
            [*output.num_acceptable_drafts, *([0] * len(names))],
        )


def _find_victim(scheduler: Any, may_begin: Callable[[Any], bool]) -> Any:
    """Return a request that makes way, no longer among those that run; it is to be preempted. None if there is none.

    Args:
        scheduler: of vLLM.
        may_begin: tells whether nothing (a grammar that is being compiled) keeps one that waits from beginning.
    """
    if not scheduler.waiting or not is_online(scheduler.waiting.peek_request()):
        return None
    cache = scheduler.kv_cache_manager
    victim: Any = choose_victim(
        [each for each in takewhile(is_online, scheduler.waiting) if may_begin(each)],
        scheduler.running,
        free_slots=(scheduler.max_num_active_reqs - len(scheduler.running) - scheduler.num_waiting_for_streaming_input),
        free_blocks=cache.block_pool.get_num_free_blocks() - cache.watermark_blocks,
        block_tokens=scheduler.block_size,
    )
    if victim is not None:
        scheduler.running.remove(victim)
        # It might go on in this very step, where the one that it made way for does not fit after all.
        scheduler.prev_step_scheduled_req_ids.discard(victim.request_id)
    return victim


def _count_slots(scheduler: Any, rest: BatchRest, may_begin: Callable[[Any], bool]) -> int:
    """Return how many slots the next step may fill."""
    return rest.slots(
        scheduler.max_num_active_reqs,
        taken=len(scheduler.running) + scheduler.num_waiting_for_streaming_input,
        beginning=sum(may_begin(each) for each in takewhile(is_online, scheduler.waiting)),
    )


class LaneScheduler(Scheduler):
    """vLLM's scheduler, with masks that requests bring, and a batch lane that makes way."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._table = _MaskTable()
        self._report = LoadReport()
        self._rest = BatchRest()

    def schedule(self, *args: Any, **kwargs: Any) -> Any:
        """Plan a step, after the batch lane has made way."""
        while (victim := _find_victim(self, self._handle_blocked_waiting_request)) is not None:
            self._preempt_request(victim, time.monotonic(), drop_stale_output=self.requires_kv_delivery)
        slots = self.max_num_active_reqs
        self.max_num_active_reqs = _count_slots(self, self._rest, self._handle_blocked_waiting_request)
        try:
            return super().schedule(*args, **kwargs)
        finally:
            self.max_num_active_reqs = slots

    def add_request(self, request: Any) -> None:
        """Take a request, and its mask if it has one."""
        self._table.note(request)
        super().add_request(request)

    def get_grammar_bitmask(self, scheduler_output: Any) -> Any:
        """Return the masks of this step."""
        output = super().get_grammar_bitmask(scheduler_output)
        return self._table.extend(output, scheduler_output.num_scheduled_tokens, self.requests)

    def make_stats(self, *args: Any, **kwargs: Any) -> Any:
        """Return vLLM's own statistics where they are on, else the load where that is worth telling."""
        return super().make_stats(*args, **kwargs) or self._report.make(self)


class LaneAsyncScheduler(LaneScheduler, AsyncScheduler):
    """The same over vLLM's scheduler that plans a step while the one before it runs."""
