"""What a model writes in its own form, read by a parser of vLLM's as it comes.

Those parsers are many, and each has its weak places. So what one makes of a stream is not the last word: one that
fails hands its text on as text, what it makes of the whole text at the end completes what it made of the stream, and a
call is only one if such a tool may be called.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import structlog
from msgspec import Struct

from headrace.schema.events import ToolCallDelta
from headrace.worker.engines.vllm.reading.base import CallIds, Piece

_log = structlog.get_logger("headrace.engine")


class CallPiece(Struct, frozen=True):
    """What a parser says that a call grew by.

    Attributes:
        index: which call.
        name: the tool, once.
        arguments: the next piece of its arguments.
    """

    index: int
    name: str | None = None
    arguments: str = ""


class Parsed(Struct, frozen=True):
    """What a parser makes of a text."""

    reasoning: str = ""
    text: str = ""
    calls: tuple[CallPiece, ...] = ()


class Parser(Protocol):
    """A parser of vLLM's; it may raise anything."""

    def step(self, text: str, token_ids: Sequence[int], *, is_last: bool) -> Parsed:
        """Return what the next piece of a text adds."""
        ...

    def parse(self, text: str, token_ids: Sequence[int]) -> Parsed:
        """Return what a whole text says; on a parser that nothing was read with."""
        ...


class ReadingRules(Struct, frozen=True, kw_only=True):
    """What may be in a sequence.

    Attributes:
        names: tools that may be called.
        only_one: of several calls, only the first counts.
        thinks_first: it begins with reasoning.
    """

    names: Collection[str] = ()
    only_one: bool = False
    thinks_first: bool = False


class _Call(Struct):
    name: str | None = None
    arguments: str = ""
    shown_as: int | None = None


class ParsedReader:
    """Reads one sequence with a parser.

    Args:
        make_parser: makes a parser for one reading.
        rules: what may be in it.
        ids: of its calls.
    """

    def __init__(self, make_parser: Callable[[], Parser], rules: ReadingRules, ids: CallIds) -> None:
        self._make_parser = make_parser
        self._parser: Parser | None = make_parser()
        self._rules = rules
        self._ids = ids
        self._whole = ""
        self._token_ids: list[int] = []
        # Read since the parser last said anything, which it may be holding back.
        self._held = ""
        self._said_reasoning = ""
        self._said_text = ""
        self._calls: dict[int, _Call] = {}
        self._shown = 0
        self._is_thinking = rules.thinks_first
        self.reasoning_tokens = 0

    @property
    def has_calls(self) -> bool:
        """Whether there was a tool call."""
        return self._shown > 0

    def read(self, text: str, token_ids: Sequence[int], *, is_last: bool) -> Piece:
        """Take what the sequence grew by; see `Reader.read`."""
        if self._parser is None:
            return Piece(text=text)
        self._whole += text
        self._token_ids += token_ids
        try:
            parsed = self._parser.step(text, token_ids, is_last=is_last)
        except Exception as error:  # noqa: BLE001 - whatever a parser raises, its sequence goes on
            return self._give_up(text, error)
        self._held = "" if parsed.reasoning or parsed.text or parsed.calls else self._held + text
        piece = self._say(parsed)
        if self._is_thinking:
            self.reasoning_tokens += len(token_ids)
        return self._complete(piece) if is_last else piece

    def _give_up(self, text: str, error: Exception) -> Piece:
        _log.warning("output not parsed", request_id=self._ids.request_id, error=type(error).__name__)
        self._parser = None
        self._is_thinking = False
        return Piece(text=self._held + text)

    def _say(self, parsed: Parsed) -> Piece:
        if parsed.text or parsed.calls:
            self._is_thinking = False
        self._said_reasoning += parsed.reasoning
        self._said_text += parsed.text
        calls = tuple(delta for call in parsed.calls if (delta := self._say_call(call)) is not None)
        return Piece(parsed.reasoning, parsed.text, calls, self._is_thinking)

    def _say_call(self, piece: CallPiece) -> ToolCallDelta | None:
        call = self._calls.setdefault(piece.index, _Call())
        call.arguments += piece.arguments
        if call.shown_as is not None:
            return ToolCallDelta(call.shown_as, piece.arguments) if piece.arguments else None
        call.name = call.name or piece.name
        if call.name not in self._rules.names or (self._rules.only_one and self._shown):
            return None
        call.shown_as = self._shown
        self._shown += 1
        return ToolCallDelta(call.shown_as, call.arguments, self._ids.make(call.shown_as), call.name)

    def _complete(self, piece: Piece) -> Piece:
        """Add what the parser makes of the whole text and did not make of the stream."""
        try:
            whole = self._make_parser().parse(self._whole, self._token_ids)
        except Exception as error:  # noqa: BLE001 - as above
            _log.warning("output not parsed whole", request_id=self._ids.request_id, error=type(error).__name__)
            whole = Parsed()
        rest = self._say(Parsed(self._missing_reasoning(whole), self._missing_text(whole), self._missing_calls(whole)))
        return Piece(
            piece.reasoning + rest.reasoning,
            piece.text + rest.text + self._tell_unknown_calls(),
            (*piece.calls, *rest.calls, *self._fill_empty_calls()),
        )

    def _missing_reasoning(self, whole: Parsed) -> str:
        return "" if self._said_text or self._calls else _rest_of(whole.reasoning, self._said_reasoning)

    def _missing_text(self, whole: Parsed) -> str:
        return "" if self._calls or whole.calls else _rest_of(whole.text, self._said_text)

    def _missing_calls(self, whole: Parsed) -> tuple[CallPiece, ...]:
        missing: list[CallPiece] = []
        for call in whole.calls:
            said = self._calls.get(call.index)
            if said is None or said.name is None:
                missing.append(call)
            elif rest := _rest_of(call.arguments, said.arguments):
                missing.append(CallPiece(call.index, None, rest))
        return tuple(missing)

    def _tell_unknown_calls(self) -> str:
        """Return the calls of tools that may not be called: to the client they are only text."""
        unknown = [
            call for call in self._calls.values() if call.shown_as is None and call.name not in self._rules.names
        ]
        return "\n".join(f'{{"name": "{call.name}", "arguments": {call.arguments or "{}"}}}' for call in unknown)

    def _fill_empty_calls(self) -> list[ToolCallDelta]:
        # Clients decode the arguments, and nothing is no JSON.
        shown = [call for call in self._calls.values() if call.shown_as is not None and not call.arguments]
        return [ToolCallDelta(call.shown_as, "{}") for call in shown if call.shown_as is not None]


def _rest_of(whole: str, said: str) -> str:
    return whole[len(said) :] if whole.startswith(said) else ""
