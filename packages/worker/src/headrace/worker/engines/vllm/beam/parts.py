# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
"""vLLM's and xgrammar's own parts that a search needs, behind typed names.

Its tokenizer and incremental detokenizer, its list of end tokens, and its grammar compiler with its settings, so that a
constraint means the same to a search as to sampling.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import torch
from msgspec import Struct
from vllm.logprobs import Logprob
from vllm.sampling_params import SamplingParams
from vllm.v1.engine.detokenizer import IncrementalDetokenizer
from vllm.v1.structured_output.backend_xgrammar import XgrammarBackend
from vllm.v1.structured_output.request import get_structured_output_key

from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.worker.engines.vllm.beam.grammar import GrammarState
from headrace.worker.engines.vllm.beam.masks import Mask
from headrace.worker.engines.vllm.beam.search import Expansion
from headrace.worker.engines.vllm.beam.streams import TextStream

_COMPILER = "xgrammar"


class _TextRequest(Struct):
    """As much of a request as vLLM's detokenizer reads."""

    request_id: str
    prompt_token_ids: list[int]
    sampling_params: Any
    prompt_embeds: None = None


class _Matcher:
    """A state of xgrammar's."""

    def __init__(self, matcher: Any, words: int) -> None:
        self._matcher = matcher
        self._words = words

    def fork(self) -> Self:
        return type(self)(self._matcher.fork(), self._words)

    def accept(self, token_id: int) -> bool:
        return bool(self._matcher.accept_token(token_id))

    def next_mask(self) -> Mask:
        rows = torch.full((1, self._words), -1, dtype=torch.int32)
        self._matcher.fill_next_token_bitmask(rows)
        mask: Mask = rows[0].numpy()
        return mask.astype(np.int32, copy=False)


class BeamParts:
    """What a search needs of one vLLM engine.

    Args:
        llm: its `AsyncLLM`; it is not kept.
    """

    def __init__(self, llm: Any) -> None:
        # Any: the checker must say the same with vLLM installed and without it.
        self._config: Any = llm.vllm_config
        self._tokenizer: Any = llm.get_tokenizer()
        self._compiler: Any = None
        model: Any = self._config.model_config
        self.vocabulary_size = int(model.get_vocab_size())
        # Then a constraint begins only after the model has thought, which is a state that we don't follow.
        self.thinks_first = bool(self._config.structured_outputs_config.reasoning_parser)
        parameters: Any = SamplingParams()
        parameters.update_from_generation_config(model.try_get_generation_config(), llm.renderer.get_eos_token_id())
        self.end_token_ids: frozenset[int] = frozenset(parameters.all_stop_token_ids)

    def check(self, arguments: dict[str, Any]) -> Any:
        """Return vLLM's `SamplingParams` of a request, as vLLM checks them.

        Raises:
            ValueError: vLLM refuses them.
            TypeError: vLLM refuses them.
        """
        parameters: Any = SamplingParams(**arguments)
        config = self._config
        parameters.verify(config.model_config, None, config.structured_outputs_config, self._tokenizer)
        return parameters

    async def compile_grammar(self, constraint: Any, *, stop_token_ids: frozenset[int]) -> GrammarState:
        """Return where every beam begins in a grammar.

        Args:
            constraint: vLLM's `StructuredOutputsParams`, checked.
            stop_token_ids: tokens that may come where the text may end.

        Raises:
            HeadraceError: `invalid_request` or `unsupported_parameter`: there is no such grammar here.
        """
        if self.thinks_first:
            message = "beam_search can't follow a constraint on a model that thinks before it answers; leave one out"
            raise HeadraceError(ErrorCode.UNSUPPORTED_PARAMETER, message, param="generation_parameters.beam_search")
        if constraint._backend != _COMPILER:  # noqa: SLF001 - where vLLM keeps it
            message = "beam_search can't follow this constraint, which xgrammar does not know; simplify it or sample"
            raise HeadraceError(ErrorCode.UNSUPPORTED_PARAMETER, message, param="response_format")
        try:
            return await asyncio.to_thread(self._compile, constraint, set(stop_token_ids))
        except (ValueError, RuntimeError) as error:
            message = "the engine can't make a grammar of this response format"
            raise HeadraceError(ErrorCode.INVALID_REQUEST, message, param="response_format") from error

    def _compile(self, constraint: Any, stop_token_ids: set[int]) -> GrammarState:
        if self._compiler is None:
            self._compiler = XgrammarBackend(self._config, tokenizer=self._tokenizer, vocab_size=self.vocabulary_size)
        grammar: Any = self._compiler.compile_grammar(*get_structured_output_key(constraint), stop_token_ids)
        return _Matcher(grammar.matcher, -(-self.vocabulary_size // 32))

    def decoder(self, *, skip_special_tokens: bool) -> Callable[[Sequence[int]], str]:
        """Return what turns tokens into text."""

        def decode(token_ids: Sequence[int]) -> str:
            return str(self._tokenizer.decode(list(token_ids), skip_special_tokens=skip_special_tokens))

        return decode

    def open_text(self, prompt_token_ids: list[int], text: dict[str, Any], *, request_id: str) -> TextStream:
        """Return what turns the tokens of an answer into text as they come."""
        request: Any = _TextRequest(request_id, prompt_token_ids, SamplingParams(**text))
        stream: TextStream = IncrementalDetokenizer.from_new_request(self._tokenizer, request)
        return stream

    def show_place(self, token_id: int, place: Expansion, *, count: int) -> dict[int, Any]:
        """Return a token and the likeliest others of its place, in the form of vLLM's log probabilities."""
        ranks = {other: rank for rank, other in enumerate(place.token_ids, start=1)}
        shown = dict.fromkeys([token_id, *place.token_ids[:count]])
        return {
            other: Logprob(place.logprobs[ranks[other] - 1], ranks[other], self._tokenizer.decode([other]))
            for other in shown
        }
