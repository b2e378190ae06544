# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUntypedBaseClass=false, reportUnknownParameterType=false
"""What `replay` does, for vLLM's second model runner, which GPUs use; loaded into the engine's process by its name.

That runner keeps its requests in slots, and what it samples from in rows. Nothing here waits for the device: where a
row stands is compared on the device with how much of its answer is known.
"""

from typing import Any

from vllm.v1.worker.gpu.sample.logits_processor import LogitsContext, LogitsProcessor, LogitsProcRequestState

from headrace.worker.engines.vllm.continuing.names import REPLAY_ARGUMENT


class ForcedRows(LogitsProcessor):
    """Leaves one token possible for as long as the answer of a row is known.

    Args:
        vllm_config: of the engine; not used.
        req_states: what the runner knows of its requests, by slot.
    """

    def __init__(self, vllm_config: Any, req_states: LogitsProcRequestState) -> None:
        super().__init__(vllm_config, req_states)
        self._prompt_lengths = req_states.prompt_len
        self._device = req_states.device
        self._known: dict[int, Any] = {}

    def add_request(self, req_idx: int, sampling_params: Any) -> bool:
        """Remember the tokens of a request that enters a slot, and forget those of the one before it."""
        self._known.pop(req_idx, None)
        known: list[int] | None = (sampling_params.extra_args or {}).get(REPLAY_ARGUMENT)
        if not known:
            return False
        # Not at the top: vLLM also imports this module where it wants no torch.
        import torch

        self._known[req_idx] = torch.tensor(known, dtype=torch.int64, device=self._device)
        return True

    def apply(self, logits: Any, ctx: LogitsContext) -> Any:
        """Force the rows of a step whose next token is known."""
        if self._known:
            for place, slot in enumerate(ctx.idx_mapping_np.tolist()):
                if (known := self._known.get(slot)) is not None:
                    self._force(logits, ctx, known, slot=slot, place=place)
        return logits

    def _force(self, logits: Any, ctx: LogitsContext, known: Any, *, slot: int, place: int) -> None:
        import torch

        if len(ctx.expanded_idx_mapping) == len(ctx.idx_mapping_np):
            rows = slice(place, place + 1)
        else:
            # A draft model proposes several tokens: a request has several rows.
            rows = (ctx.expanded_idx_mapping == slot).nonzero().flatten()
        # A row samples the token behind its own position.
        places = ctx.pos[rows].to(torch.int64) + 1 - int(self._prompt_lengths.np[slot])
        is_known = (places >= 0) & (places < len(known))
        forced = torch.full_like(logits[rows], -torch.inf)
        forced.scatter_(1, known[places.clamp(0, len(known) - 1)].unsqueeze(1), 0.0)
        logits[rows] = torch.where(is_known.unsqueeze(1), forced, logits[rows])
