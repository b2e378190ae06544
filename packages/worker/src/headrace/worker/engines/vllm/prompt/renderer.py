# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false
"""vLLM's renderer: chat template and tokenizer, behind typed names."""

import asyncio
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from msgspec import Struct
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream
from vllm.exceptions import VLLMClientError
from vllm.inputs import tokens_input
from vllm.renderers.hf import HfRenderer
from vllm.renderers.params import ChatParams, TokenizeParams

from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.worker.engines.vllm.prompt.conversation import ChatMessage, ImageRules
from headrace.worker.engines.vllm.prompt.told_tools import template_knows_tools
from headrace.worker.engines.vllm.tokens import TokenTable, find_alphabet

# Rendering this much text takes less time than handing it to a thread and back.
INLINE_CHARACTERS = 2000
_REASON_CHARACTERS = 300


class RenderedPrompt(Struct, frozen=True):
    """A prompt as the engine takes it.

    Attributes:
        content: vLLM's engine input.
        token_count: its length in tokens.
    """

    content: Any
    token_count: int

    @property
    def token_ids(self) -> list[int]:
        """Its tokens."""
        token_ids: list[int] = self.content["prompt_token_ids"]
        return token_ids

    @property
    def is_text(self) -> bool:
        """Whether it is nothing but tokens."""
        return bool(self.content["type"] == "token")

    def extended(self, token_ids: Sequence[int]) -> "RenderedPrompt":
        """Return the same prompt with tokens after it; only for one that is nothing but tokens."""
        return RenderedPrompt(tokens_input([*self.token_ids, *token_ids]), self.token_count + len(token_ids))


class PromptRenderer:
    """Makes prompts for one model.

    Args:
        renderer: vLLM's.
        model_config: vLLM's.
    """

    def __init__(self, renderer: Any, model_config: Any) -> None:
        self._renderer = renderer
        self._model_config = model_config
        self._tokenizer: Any = renderer.get_tokenizer()
        self._vocabulary_size = int(model_config.get_vocab_size())
        self._tokenize_chat = TokenizeParams(max_total_tokens=None, add_special_tokens=False)
        self._tokenize_text = TokenizeParams(max_total_tokens=None, add_special_tokens=True)

    @cached_property
    def tokens(self) -> TokenTable:
        """What the model's tokens look like."""
        backend: Any = getattr(self._tokenizer, "backend_tokenizer", None)
        added: dict[int, Any] = getattr(self._tokenizer, "added_tokens_decoder", {})

        def piece_of(token_id: int) -> str | None:
            piece: str | None = self._tokenizer.convert_ids_to_tokens(token_id)
            return piece

        return TokenTable(piece_of, frozenset(added), find_alphabet(repr(backend.decoder) if backend else ""))

    @property
    def image_rules(self) -> ImageRules:
        """Which images the model takes."""
        config = self._model_config
        return ImageRules(bool(config.is_multimodal_model), frozenset(config.allowed_media_domains or ()))

    @cached_property
    def chat_template(self) -> str | None:
        """The model's chat template, as far as it is one text."""
        return find_template(self._tokenizer)

    @property
    def tells_tools_itself(self) -> bool:
        """Whether tools go to the model through its template, or through a renderer that vLLM has for it."""
        return not isinstance(self._renderer, HfRenderer) or template_knows_tools(self.chat_template)

    async def render_chat(
        self,
        conversation: list[ChatMessage],
        tools: list[dict[str, Any]],
        template_arguments: dict[str, Any],
        *,
        has_images: bool,
    ) -> RenderedPrompt:
        """Put a conversation through the model's chat template and tokenizer.

        Raises:
            HeadraceError: `invalid_request`: the template refuses it.
        """
        arguments = template_arguments | ({"tools": tools} if tools else {})
        template = ChatParams(chat_template_kwargs=arguments)
        texts = [str(message["content"]) for message in conversation]
        content: Any
        try:
            if sum(map(len, texts)) <= INLINE_CHARACTERS and not has_images:
                _, (content,) = self._renderer.render_chat([conversation], template, self._tokenize_chat)
            else:
                _, (content,) = await self._renderer.render_chat_async([conversation], template, self._tokenize_chat)
        except Exception as error:
            message = f"the model's chat template refuses these messages{_tell_reason(error, texts)}"
            raise HeadraceError(ErrorCode.INVALID_REQUEST, message, param="messages") from error
        return RenderedPrompt(content, len(content["prompt_token_ids"]))

    async def render_prompt(self, prompt: str | Sequence[int], *, param: str) -> RenderedPrompt:
        """Return a raw prompt, a text with the special tokens that the model expects around one.

        Args:
            prompt: text, or tokens.
            param: what it is called in messages.

        Raises:
            HeadraceError: `invalid_request`: there is no such token, or nothing is left of the text.
        """
        if not isinstance(prompt, str):
            if max(prompt) >= self._vocabulary_size:
                message = f"there is no token {max(prompt)}; the model has {self._vocabulary_size}"
                raise HeadraceError(ErrorCode.INVALID_REQUEST, message, param=param)
            return RenderedPrompt(tokens_input(list(prompt)), len(prompt))
        given = [{"prompt": prompt}]
        content: Any
        try:
            if len(prompt) <= INLINE_CHARACTERS:
                (content,) = self._renderer.render_cmpl(given, self._tokenize_text)
            else:
                (content,) = await self._renderer.render_cmpl_async(given, self._tokenize_text)
        except (VLLMClientError, ValueError, TypeError) as error:
            message = f"the model's tokenizer refuses this prompt{_tell_reason(error, [prompt])}"
            raise HeadraceError(ErrorCode.INVALID_REQUEST, message, param=param) from error
        if not content["prompt_token_ids"]:
            raise HeadraceError(ErrorCode.INVALID_REQUEST, "the prompt has no tokens", param=param)
        return RenderedPrompt(content, len(content["prompt_token_ids"]))

    def spell(self, prompt_ids: Sequence[int], token_ids: Sequence[int], *, skip_special: bool) -> list[str] | None:
        """Return the text that each token adds after a prompt, as vLLM tells it; empty while a character is not whole.

        None for a tokenizer that can't say it token by token.
        """
        backend: Any = getattr(self._tokenizer, "_tokenizer", None)
        if not isinstance(backend, Tokenizer):
            return None
        stream = DecodeStream(ids=list(prompt_ids), skip_special_tokens=skip_special)
        return [stream.step(backend, token_id) or "" for token_id in token_ids]

    async def decode(self, token_ids: Sequence[int]) -> str:
        """Return tokens as text, special ones included."""

        def decode() -> str:
            return str(self._tokenizer.decode(list(token_ids), skip_special_tokens=False))

        return decode() if len(token_ids) <= INLINE_CHARACTERS else await asyncio.to_thread(decode)


def find_template(tokenizer: Any) -> str | None:
    """Return a tokenizer's chat template, as far as it is one text."""
    try:
        return str(tokenizer.get_chat_template(None, tools=[{}]))
    except Exception:  # noqa: BLE001 - there is none, or it is no template
        return None


def _tell_reason(error: Exception, texts: Sequence[str]) -> str:
    # Templates give good reasons ("roles must alternate"), but what holds a prompt may go into no message.
    reason = str(error).strip()
    if not reason or len(reason) > _REASON_CHARACTERS or any(text and text in reason for text in texts):
        return ""
    return f": {reason}"
