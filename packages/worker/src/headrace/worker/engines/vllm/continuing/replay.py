# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUntypedBaseClass=false
"""Forces the tokens that an answer is known to begin with; loaded into vLLM's engine process by its name.

The model runs through them as if it had sampled them, so what follows has the state that it would have had: the noise
of a seeded sampler, the counts of penalties, the place in a grammar, half a character and half a stop text.
"""

from collections.abc import Callable
from typing import Any

import torch
from vllm.v1.sample.logits_processor import AdapterLogitsProcessor

from headrace.worker.engines.vllm.continuing.names import REPLAY_ARGUMENT


class ForcedReplay(AdapterLogitsProcessor):
    """Leaves one token possible for as long as the answer is known."""

    def is_argmax_invariant(self) -> bool:
        """It changes what greedy sampling chooses."""
        return False

    def new_req_logits_processor(self, params: Any) -> Callable[[list[int], torch.Tensor], torch.Tensor] | None:
        """Return what forces the tokens of one request, or None where there are none."""
        known: list[int] | None = (params.extra_args or {}).get(REPLAY_ARGUMENT)
        if not known:
            return None

        def force(output_ids: list[int], logits: torch.Tensor) -> torch.Tensor:
            place = len(output_ids)
            if place >= len(known):
                return logits
            forced = torch.full_like(logits, -torch.inf)
            forced[known[place]] = 0.0
            return forced

        return force
