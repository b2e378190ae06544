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
from functools import cached_property
from typing import Any, Protocol

import structlog
import torch
from msgspec import Struct
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.exceptions import VLLMClientError
from vllm.inputs import tokens_input
from vllm.lora.request import LoRARequest
from vllm.platforms import current_platform
from vllm.pooling_params import PoolingParams
from vllm.renderers.params import ChatParams, TokenizeParams
from vllm.sampling_params import RequestOutputKind, SamplingParams
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError as VllmDeadError

from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.messages import Message
from headrace.worker.engines.base import EngineDeadError, EngineSetupError
from headrace.worker.engines.vllm.adapters import Adapter
from headrace.worker.engines.vllm.beam.opening import BeamTask, open_search
from headrace.worker.engines.vllm.beam.parts import BeamParts
from headrace.worker.engines.vllm.beam.runner import BeamRun, StepEngine
from headrace.worker.engines.vllm.children import guard_children
from headrace.worker.engines.vllm.environment import choose_fork
from headrace.worker.engines.vllm.fold import StepOutput
from headrace.worker.engines.vllm.interrupt import interruptible_start
from headrace.worker.engines.vllm.options import Machine
from headrace.worker.engines.vllm.pooling.dimensions import EmbeddingDimensions

_log = structlog.get_logger("headrace.engine")

# Rendering this much text takes less time than handing it to a thread and back.
_INLINE_CHARACTERS = 2000
_REASON_CHARACTERS = 300


class RenderedPrompt(Struct, frozen=True):
    """A prompt as the engine takes it.

    Attributes:
        content: vLLM's engine input.
        token_count: its length in tokens.
    """

    content: Any
    token_count: int


class OutputQueue(Protocol):
    """Where vLLM puts what a request got; it merges while nobody takes."""

    request_id: str

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

    Raises:
        EngineSetupError: vLLM can't make an engine from them.
    """

    def __init__(self, arguments: dict[str, Any], machine: Machine, adapters: Sequence[Adapter] = ()) -> None:
        # Any: the checker must say the same with vLLM installed and without it.
        self._llm: Any
        try:
            config = AsyncEngineArgs(**arguments).create_engine_config()
            _choose_scheduler(config)
            if machine.is_cpu:
                choose_fork()
            _warn_of_threads()
            with interruptible_start(), guard_children():
                self._llm = AsyncLLM.from_vllm_config(config, disable_log_stats=True)
        except EngineSetupError:
            raise
        except Exception as error:
            raise EngineSetupError(f"vLLM could not make an engine: {error}") from error
        self._max_model_tokens = int(self._llm.model_config.max_model_len)
        self._defaults: dict[str, Any] = dict(self._llm.model_config.get_diff_sampling_param())
        self._tokenize = TokenizeParams(max_total_tokens=None, add_special_tokens=False)
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

    async def render(self, messages: Sequence[Message], template_arguments: dict[str, Any]) -> RenderedPrompt:
        """Put messages through the model's chat template and tokenizer.

        Raises:
            HeadraceError: `invalid_request`: the template refuses them.
        """
        texts = [message.to_text() for message in messages]
        conversation = [_to_chat_message(message, text) for message, text in zip(messages, texts, strict=True)]
        template = ChatParams(chat_template_kwargs={"add_generation_prompt": True, **template_arguments})
        renderer = self._llm.renderer
        content: Any
        try:
            if sum(map(len, texts)) <= _INLINE_CHARACTERS:
                _, (content,) = renderer.render_chat([conversation], template, self._tokenize)
            else:
                _, (content,) = await renderer.render_chat_async([conversation], template, self._tokenize)
        except Exception as error:
            message = f"the model's chat template refuses these messages{_tell_reason(error, texts)}"
            raise HeadraceError(ErrorCode.INVALID_REQUEST, message, param="messages") from error
        return RenderedPrompt(content, len(content["prompt_token_ids"]))

    async def submit(
        self, prompt: RenderedPrompt, arguments: dict[str, Any], *, request_id: str, priority: int, model: str = ""
    ) -> OutputQueue:
        """Hand a request to the engine, and return where its outputs come.

        Args:
            prompt: what to answer.
            arguments: of `SamplingParams`.
            request_id: unique among the requests that run.
            priority: the lower goes first.
            model: the served name that was asked for; an adapter's brings its weights.

        Raises:
            HeadraceError: `invalid_request`: vLLM refuses a parameter. `engine_error`: it failed on this request.
            EngineDeadError: the engine is dead.
        """

        def make_parameters() -> Any:
            return SamplingParams(**arguments, output_kind=RequestOutputKind.DELTA, skip_clone=True)

        return await self._add(request_id, prompt.content, make_parameters, priority=priority, model=model)

    async def _add(
        self, request_id: str, content: Any, make_parameters: Callable[[], Any], *, priority: int, model: str
    ) -> OutputQueue:
        try:
            return await self._llm.add_request(
                request_id, content, make_parameters(), priority=priority, lora_request=self._adapters.get(model)
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

        return encode() if sum(map(len, prompts)) <= _INLINE_CHARACTERS else await asyncio.to_thread(encode)

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
    # Ours applies the masks of a constrained beam search, and is vLLM's own otherwise.
    scheduling = config.scheduler_config
    if scheduling.scheduler_cls is None and config.model_config.runner_type == "generate":
        kind = "MaskingAsyncScheduler" if scheduling.async_scheduling else "MaskingScheduler"
        scheduling.scheduler_cls = f"headrace.worker.engines.vllm.beam.scheduler.{kind}"


def _warn_of_threads() -> None:
    # A fork copies the locks that other threads hold, and nobody will ever release the copies.
    others = [thread.name for thread in threading.enumerate() if thread is not threading.current_thread()]
    if others:
        _log.warning("engine forked beside threads", threads=others)


def _to_chat_message(message: Message, text: str) -> dict[str, str]:
    chat_message = {"role": message.role, "content": text}
    if message.name is not None:
        chat_message["name"] = message.name
    return chat_message


def _tell_reason(error: Exception, texts: Sequence[str]) -> str:
    # Templates give good reasons ("roles must alternate"), but what holds a prompt may go into no message.
    reason = str(error).strip()
    if not reason or len(reason) > _REASON_CHARACTERS or any(text and text in reason for text in texts):
        return ""
    return f": {reason}"


def _to_refusal(error: Exception) -> HeadraceError:
    parameter = getattr(error, "parameter", None)
    reason = str(error.args[0]) if error.args else type(error).__name__
    param = f"generation_parameters.{parameter}" if isinstance(parameter, str) else "generation_parameters"
    return HeadraceError(ErrorCode.INVALID_REQUEST, f"the engine refuses this request: {reason}", param=param)
