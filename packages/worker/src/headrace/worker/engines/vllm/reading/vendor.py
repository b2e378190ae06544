# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
"""vLLM's parsers of reasoning and tool calls, behind typed names."""

from collections.abc import Callable, Sequence
from typing import Any

import structlog
from msgspec import Struct
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.parser import ParserManager
from vllm.reasoning import ReasoningParserManager
from vllm.tokenizers import cached_tokenizer_from_config
from vllm.tool_parsers import ToolParserManager

from headrace.schema.tools import Tool
from headrace.worker.engines.base import EngineSetupError
from headrace.worker.engines.vllm.prompt.conversation import write_tools
from headrace.worker.engines.vllm.prompt.renderer import find_template
from headrace.worker.engines.vllm.prompt.told_tools import template_knows_tools
from headrace.worker.engines.vllm.reading.choice import AUTO, choose_tool_parser
from headrace.worker.engines.vllm.reading.parsed import CallPiece, Parsed, Parser

_log = structlog.get_logger("headrace.engine")

# A mark further back than this belongs to an earlier turn.
_PROMPT_TAIL_TOKENS = 16


class ParserKit(Struct, frozen=True):
    """What one request's sequences are read with.

    Attributes:
        make: makes a parser for one reading.
        keeps_special_tokens: its marks are special tokens, which must be left in the text.
    """

    make: Callable[[], Parser]
    keeps_special_tokens: bool


class ParserNames(Struct, frozen=True):
    """Which parsers a model's answers are read with.

    Attributes:
        model: its served name, for messages.
        tool_parser: a name of vLLM's, or `auto`.
        reasoning_parser: a name of vLLM's; empty for a model that does not think aloud.
    """

    model: str
    tool_parser: str = AUTO
    reasoning_parser: str = ""


NO_PARSERS = ParserNames("")


class VendorParsers:
    """The parsers of one model.

    Attributes:
        tool_parser: the name of the one for tool calls.

    Args:
        model_config: vLLM's.
        names: which.

    Raises:
        EngineSetupError: there is no such parser, or it does not go with this model.
    """

    def __init__(self, model_config: Any, names: ParserNames) -> None:
        self._model_config = model_config
        self._tokenizer: Any = cached_tokenizer_from_config(model_config=model_config)
        template = find_template(self._tokenizer)
        chosen = choose_tool_parser(names.tool_parser, template if template_knows_tools(template) else None)
        self.tool_parser = chosen
        self._reasoning_parser = names.reasoning_parser
        self._classes: dict[tuple[bool, bool], Any] = {}
        _check_name(f"models.{names.model}.tool_parser", chosen, ToolParserManager.list_registered())
        if names.reasoning_parser:
            setting = f"models.{names.model}.reasoning_parser"
            _check_name(setting, names.reasoning_parser, ReasoningParserManager.list_registered())
            try:
                self._reasoner: Any = self._class_for(tools=False, reasoning=True)(self._tokenizer).reasoning_parser
            except Exception as error:
                message = f"{setting} {names.reasoning_parser!r} does not go with this model: {error}"
                raise EngineSetupError(message) from error

    @property
    def has_reasoning(self) -> bool:
        """Whether the model thinks aloud."""
        return bool(self._reasoning_parser)

    @property
    def for_engine(self) -> str:
        """The parser of reasoning that the engine itself needs to find its end with; empty where it needs none."""
        return "" if self.end_mark else self._reasoning_parser

    @property
    def end_mark(self) -> str:
        """What the model writes when it has thought enough; empty where that is not one text."""
        return str(self._reasoner.reasoning_end_str or "") if self._reasoning_parser else ""

    def is_thinking_next(self, prompt_token_ids: Sequence[int]) -> bool:
        """Tell whether an answer to this prompt begins with reasoning."""
        return self.has_reasoning and not self._reasoner.is_reasoning_end(list(prompt_token_ids[-_PROMPT_TAIL_TOKENS:]))

    def open(
        self,
        tools: Sequence[Tool],
        *,
        thinks_first: bool,
        prompt_token_ids: list[int],
        template_arguments: dict[str, Any],
    ) -> ParserKit:
        """Return what reads the answers to one prompt.

        Args:
            tools: those that may be called; none where no calls are looked for.
            thinks_first: the answer begins with reasoning.
            prompt_token_ids: the prompt.
            template_arguments: variables of the chat template, which some parsers look at.
        """
        parser_class = self._class_for(tools=bool(tools), reasoning=thinks_first)
        request = _write_request(tools)

        def make() -> Any:
            return parser_class(
                self._tokenizer,
                request.tools,
                chat_template_kwargs=template_arguments,
                model_config=self._model_config,
            )

        adjusted: Any = make().adjust_request(request.model_copy())
        return ParserKit(
            lambda: _VendorParser(make(), request, prompt_token_ids[-_PROMPT_TAIL_TOKENS:] if thinks_first else []),
            keeps_special_tokens=not adjusted.skip_special_tokens,
        )

    def _class_for(self, *, tools: bool, reasoning: bool) -> Any:
        if (found := self._classes.get((tools, reasoning))) is None:
            found = self._classes[tools, reasoning] = ParserManager.get_parser(
                tool_parser_name=self.tool_parser if tools else None,
                reasoning_parser_name=self._reasoning_parser if reasoning else None,
                enable_auto_tools=tools,
                is_harmony=self._model_config.hf_config.model_type == "gpt_oss",
            )
        return found


class _VendorParser:
    """One of vLLM's parsers, for one text."""

    def __init__(self, parser: Any, request: Any, prompt_token_ids: list[int]) -> None:
        self._parser = parser
        self._request = request
        self._prompt_token_ids = prompt_token_ids

    def step(self, text: str, token_ids: Sequence[int], *, is_last: bool) -> Parsed:
        """Return what the next piece of a text adds."""
        delta = self._parser.parse_delta(
            text, list(token_ids), self._request, prompt_token_ids=self._prompt_token_ids, finished=is_last
        )
        if delta is None:
            return Parsed()
        calls = tuple(
            CallPiece(
                call.index,
                call.function.name if call.function else None,
                (call.function.arguments or "") if call.function else "",
            )
            for call in delta.tool_calls or ()
        )
        return Parsed(delta.reasoning or "", delta.content or "", calls)

    def parse(self, text: str, token_ids: Sequence[int]) -> Parsed:
        """Return what a whole text says."""
        reasoning, content, calls = self._parser.parse(
            text, self._request, enable_auto_tools=bool(self._request.tools), model_output_token_ids=token_ids
        )
        pieces = tuple(CallPiece(i, call.name, call.arguments or "") for i, call in enumerate(calls or ()))
        return Parsed(reasoning or "", content or "", pieces)


def _check_name(setting: str, parser: str, known: Sequence[str]) -> None:
    if parser not in known:
        raise EngineSetupError(f"{setting} {parser!r} is no parser of vLLM's; there are {', '.join(known)}")


def _write_request(tools: Sequence[Tool]) -> Any:
    """Return as much of a request of vLLM's own server as its parsers look at."""
    return ChatCompletionRequest.model_validate(
        {
            "model": "",
            "messages": [{"role": "user", "content": ""}],
            "tools": write_tools(tools) or None,
            "tool_choice": "auto" if tools else "none",
            "include_reasoning": True,
        }
    )
