# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false
"""vLLM itself, behind typed names: the only module here that imports it.

Its exceptions end here too. What comes out is a `HeadraceError` for one request, or `EngineDeadError` for all of them.
"""

import asyncio
import dataclasses
import platform
import threading
from collections.abc import Callable, Collection, Sequence
from functools import cached_property, partial
from typing import Any, Protocol

import structlog
import torch
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.exceptions import VLLMClientError
from vllm.inputs import tokens_input
from vllm.lora.request import LoRARequest
from vllm.platforms import current_platform
from vllm.pooling_params import PoolingParams
from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams
from vllm.tokenizers import cached_tokenizer_from_config
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError as VllmDeadError

from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.worker.engines.base import EngineDeadError, EngineSetupError
from headrace.worker.engines.vllm.adapters import Adapter
from headrace.worker.engines.vllm.beam.opening import BeamTask, open_search
from headrace.worker.engines.vllm.beam.parts import BeamParts
from headrace.worker.engines.vllm.beam.runner import BeamRun, StepEngine
from headrace.worker.engines.vllm.children import guard_children
from headrace.worker.engines.vllm.continuing.names import REPLAY_PROCESSOR, REPLAY_PROCESSOR_OF_ROWS
from headrace.worker.engines.vllm.environment import choose_fork
from headrace.worker.engines.vllm.fold import StepOutput
from headrace.worker.engines.vllm.grammar.constraint import Constraint
from headrace.worker.engines.vllm.interrupt import interruptible_start
from headrace.worker.engines.vllm.load import LoadGauge
from headrace.worker.engines.vllm.options import Machine
from headrace.worker.engines.vllm.pooling.dimensions import EmbeddingDimensions
from headrace.worker.engines.vllm.prompt.renderer import INLINE_CHARACTERS, PromptRenderer, RenderedPrompt
from headrace.worker.engines.vllm.reading.vendor import NO_PARSERS, ParserNames, VendorParsers
from headrace.worker.engines.vllm.trial.examiner import Examiner
from headrace.worker.engines.vllm.trial.walk import Compile, make_compile

__all__ = ["OutputQueue", "RenderedPrompt", "VllmLibrary", "find_machine", "list_arguments"]

_log = structlog.get_logger("headrace.engine")

_EXTENSIONS = frozenset({"stop_token_ids", "allowed_token_ids", "bad_words"})


class OutputQueue(Protocol):
    """Where vLLM puts what a request got; it merges while nobody takes."""

    request_id: str
    ready: asyncio.Event

    def get_nowait(self) -> StepOutput | None:
        """Return what there is."""
        ...

    async def get(self) -> StepOutput:
        """Return the next output."""
        ...

    def put(self, output: Any) -> None:
        """Add an output, or an exception that `get` raises."""
        ...


def find_machine() -> Machine:
    """Return what this vLLM runs on."""
    is_cpu = bool(current_platform.is_cpu())
    # oneDNN, which vLLM's CPU build multiplies with, takes bfloat16 on x86 from AVX-512 on.
    is_slow = is_cpu and platform.machine() == "x86_64" and "AVX512" not in torch.backends.cpu.get_cpu_capability()
    return Machine(is_cpu=is_cpu, has_fast_bfloat16=not is_slow)


def list_arguments() -> Collection[str]:
    """Return every argument of vLLM's engine by name."""
    return [entry.name for entry in dataclasses.fields(AsyncEngineArgs)]


class VllmLibrary:
    """An engine of vLLM: made on the main thread, used on one event loop.

    Args:
        arguments: of `AsyncEngineArgs`.
        machine: what it runs on.
        adapters: what is served beside the model.
        parsers: what its answers are read with.

    Raises:
        EngineSetupError: vLLM can't make an engine from them.
    """

    def __init__(
        self,
        arguments: dict[str, Any],
        machine: Machine,
        adapters: Sequence[Adapter] = (),
        parsers: ParserNames = NO_PARSERS,
    ) -> None:
        # Any: the checker must say the same with vLLM installed and without it.
        self._llm: Any
        self._examiner: Examiner | None = None
        try:
            config = AsyncEngineArgs(**arguments).create_engine_config()
            _choose_scheduler(config)
            _install_replay(config)
            if machine.is_cpu:
                choose_fork()
            _warn_of_threads()
            if config.model_config.runner_type == "generate":
                self._parsers = VendorParsers(config.model_config, parsers)
                # Otherwise the end of the reasoning is a part of the constraint, and the engine need not look for it.
                config.structured_outputs_config.reasoning_parser = self._parsers.for_engine
                with guard_children():
                    self._examiner = Examiner(partial(_make_compile, config.model_config))
            with interruptible_start(), guard_children():
                self._llm = AsyncLLM.from_vllm_config(config, disable_log_stats=True)
        except BaseException as error:
            if self._examiner is not None:
                self._examiner.close()
            if isinstance(error, EngineSetupError) or not isinstance(error, Exception):
                raise
            raise EngineSetupError(f"vLLM could not make an engine: {error}") from error
        self._load = LoadGauge(self._llm)
        self._can_replay = bool(config.model_config.logits_processors)
        self._max_model_tokens = int(self._llm.model_config.max_model_len)
        self._defaults: dict[str, Any] = dict(self._llm.model_config.get_diff_sampling_param())
        self._prompts = PromptRenderer(self._llm.renderer, self._llm.model_config)
        self._adapters = {each.name: LoRARequest(each.name, each.number, str(each.folder)) for each in adapters}

    @property
    def max_model_tokens(self) -> int:
        """Context, prompt and answer together; vLLM may have made it smaller than asked."""
        return self._max_model_tokens

    @property
    def vocabulary_size(self) -> int:
        """How many tokens the model knows."""
        return int(self._llm.model_config.get_vocab_size())

    @property
    def defaults(self) -> dict[str, Any]:
        """Sampling parameters that the model's own `generation_config.json` sets, by vLLM's names."""
        return self._defaults

    @property
    def prompts(self) -> PromptRenderer:
        """What makes prompts for the model."""
        return self._prompts

    @property
    def parsers(self) -> VendorParsers:
        """What reads the model's answers."""
        return self._parsers

    @property
    def can_replay(self) -> bool:
        """Whether the engine can be forced to say what is known of an answer."""
        return self._can_replay

    @property
    def kv_tokens_total(self) -> int:
        """Tokens that the KV cache holds."""
        return self._load.total_tokens

    @property
    def kv_usage(self) -> float:
        """The share of the KV cache that is in use, as the engine last told."""
        return self._load.usage

    def write_constraint(self, constraint: Constraint) -> Any:
        """Return a constraint as an argument of `SamplingParams`."""
        form: dict[str, Any] = {constraint.kind: constraint.text}
        return StructuredOutputsParams(**form)

    async def examine(self, constraint: Constraint) -> str:
        """Return why the engine can't be given a constraint, or nothing; see `Examiner`."""
        return "" if self._examiner is None else await self._examiner.examine(constraint)

    async def submit(
        self,
        prompt: RenderedPrompt,
        arguments: dict[str, Any],
        *,
        request_id: str,
        priority: int,
        model: str = "",
        thinks_first: bool = False,
    ) -> OutputQueue:
        """Hand a request to the engine, and return where its outputs come.

        Args:
            prompt: what to answer.
            arguments: of `SamplingParams`.
            request_id: unique among the requests that run.
            priority: the lower goes first.
            model: the served name that was asked for; an adapter's brings its weights.
            thinks_first: its constraint begins where the engine finds the end of the reasoning.

        Raises:
            HeadraceError: `invalid_request`: vLLM refuses a parameter. `engine_error`: it failed on this request.
            EngineDeadError: the engine is dead.
        """

        def make_parameters() -> Any:
            return SamplingParams(**arguments, output_kind=RequestOutputKind.DELTA, skip_clone=True)

        further = {} if thinks_first else {"reasoning_ended": True}
        return await self._add(request_id, prompt.content, make_parameters, priority=priority, model=model, **further)

    async def _add(
        self,
        request_id: str,
        content: Any,
        make_parameters: Callable[[], Any],
        *,
        priority: int,
        model: str,
        **further: Any,
    ) -> OutputQueue:
        try:
            lora = self._adapters.get(model)
            return await self._llm.add_request(
                request_id, content, make_parameters(), priority=priority, lora_request=lora, **further
            )
        except asyncio.CancelledError:
            # vLLM may have registered the request without having told us its own id for it.
            await self._llm.abort(request_id)
            raise
        except VllmDeadError as error:
            raise EngineDeadError("the engine has died") from error
        except (VLLMClientError, ValueError, TypeError) as error:
            raise _to_refusal(error) from error
        except Exception as error:
            _log.error("request failed in the engine", request_id=request_id, error=type(error).__name__)
            raise HeadraceError(ErrorCode.ENGINE_ERROR, "the engine failed on this generation") from error

    async def tokenize(self, prompts: Sequence[str | Sequence[int]]) -> list[list[int]]:
        """Return the tokens of prompts for a pooling model, with the special tokens that it expects around a text."""

        def encode() -> list[list[int]]:
            tokenizer = self._llm.get_tokenizer()
            return [list(tokenizer.encode(each)) if isinstance(each, str) else list(each) for each in prompts]

        return encode() if sum(map(len, prompts)) <= INLINE_CHARACTERS else await asyncio.to_thread(encode)

    async def submit_embedding(
        self, token_ids: list[int], *, dimensions: int | None, request_id: str, priority: int, model: str
    ) -> OutputQueue:
        """Hand a prompt to a pooling engine; see `submit`."""

        def make_parameters() -> Any:
            own = dimensions in (None, self.embedding_dimensions.own)
            return PoolingParams(task="embed", dimensions=None if own else dimensions)

        return await self._add(request_id, tokens_input(token_ids), make_parameters, priority=priority, model=model)

    def read_vector(self, output: Any) -> bytes:
        """Return the embedding of an output as little-endian 32-bit floats."""
        vector: bytes = output.outputs.data.float().cpu().numpy().astype("<f4").tobytes()
        return vector

    @cached_property
    def embedding_dimensions(self) -> EmbeddingDimensions:
        """How long a pooling model's embeddings can be."""
        config = self._llm.model_config
        return EmbeddingDimensions(
            int(config.embedding_size), bool(config.is_matryoshka), tuple(config.matryoshka_dimensions or ())
        )

    async def abort(self, queue: OutputQueue) -> None:
        """Take a request out of the engine. It is sent before the first await."""
        await self.abort_all([queue])

    async def abort_all(self, queues: Sequence[OutputQueue]) -> None:
        """Take requests out of the engine, in one message. It is sent before the first await."""
        try:
            await self._llm.abort([queue.request_id for queue in queues], internal=True)
        except VllmDeadError:
            return

    @cached_property
    def _beam_parts(self) -> BeamParts:
        return BeamParts(self._llm)

    async def open_search(self, engine: StepEngine[Any], task: BeamTask) -> BeamRun:
        """Return a beam search, which has asked the engine for nothing yet.

        Raises:
            HeadraceError: `invalid_request` or `unsupported_parameter`: it can't be searched for like this.
        """
        try:
            return await open_search(self._beam_parts, engine, task)
        except (VLLMClientError, ValueError, TypeError) as error:
            raise _to_refusal(error) from error

    async def load_adapters(self) -> None:
        """Load every adapter, so that one that does not fit the model is found before anybody asks for it.

        Raises:
            EngineDeadError: one does not fit.
        """
        for name, adapter in self._adapters.items():
            try:
                await self._llm.add_lora(adapter)
            except Exception as error:
                raise EngineDeadError(f"the adapter {name} can't be loaded into this model: {error}") from error

    def on_death(self, tell: Callable[[], None]) -> None:
        """Call `tell` on the event loop when the engine has died; only after the first request."""
        handler = self._llm.output_handler
        if handler is None:
            raise EngineDeadError("the engine has not started")

        def on_end(_: asyncio.Task[None]) -> None:
            tell()

        handler.add_done_callback(on_end)

    async def close(self, *, grace_seconds: float) -> None:
        """Stop the engine and its processes."""
        if self._examiner is not None:
            await asyncio.to_thread(self._examiner.close)
        manager = self._llm.engine_core.resources.engine_manager
        processes: list[Any] = list(manager.processes) if manager is not None else []
        if (handler := self._llm.output_handler) is not None:
            # First, or vLLM logs the end of its process as a failure.
            handler.cancel()
            await asyncio.wait([handler])
        await asyncio.to_thread(self._llm.shutdown, grace_seconds)
        for process in processes:
            # Killed by now if it did not end by itself: this reaps it.
            await asyncio.to_thread(process.join, grace_seconds)
        self._llm.engine_core.resources.ctx.destroy(linger=0)
        # Its finaliser would run once more at the end of the interpreter, when half of vLLM is gone.
        del self._llm


def _choose_scheduler(config: Any) -> None:
    # Ours applies the masks of a constrained beam search, has batch work make way, and is vLLM's own otherwise.
    scheduling = config.scheduler_config
    if scheduling.scheduler_cls is None and config.model_config.runner_type == "generate":
        kind = "LaneAsyncScheduler" if scheduling.async_scheduling else "LaneScheduler"
        scheduling.scheduler_cls = f"headrace.worker.engines.vllm.scheduler.{kind}"


def _install_replay(config: Any) -> None:
    # What another worker told of an answer can be told again. vLLM's two model runners have an interface each; that of
    # the first can't be had beside a draft model.
    if config.model_config.runner_type != "generate":
        return
    if config.use_v2_model_runner:
        config.model_config.logits_processors = [REPLAY_PROCESSOR_OF_ROWS]
    elif config.speculative_config is None:
        config.model_config.logits_processors = [REPLAY_PROCESSOR]


def _warn_of_threads() -> None:
    # A fork copies the locks that other threads hold, and nobody will ever release the copies.
    others = [thread.name for thread in threading.enumerate() if thread is not threading.current_thread()]
    if others:
        _log.warning("engine forked beside threads", threads=others)


def _make_compile(model_config: Any) -> Compile:
    """Return what compiles grammars for a model; called in the examiner's process."""
    return make_compile(cached_tokenizer_from_config(model_config=model_config), int(model_config.get_vocab_size()))


def _to_refusal(error: Exception) -> HeadraceError:
    parameter = getattr(error, "parameter", None)
    reason = str(error.args[0]) if error.args else type(error).__name__
    param = "generation_parameters"
    if isinstance(parameter, str):
        param = f"{param}.provider_extensions.vllm.{parameter}" if parameter in _EXTENSIONS else f"{param}.{parameter}"
    return HeadraceError(ErrorCode.INVALID_REQUEST, f"the engine refuses this request: {reason}", param=param)
