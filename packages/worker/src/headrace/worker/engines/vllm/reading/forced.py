"""Tool calls that the grammar forces: the text is JSON of a known form, and is cut up as it comes.

It is either the arguments of the one tool, or a list of {"name": ..., "parameters": ...}, as `grammar.forms` writes it.
The arguments go out as the model writes them, to the letter.
"""

import re
from collections.abc import Sequence

import msgspec

from headrace.schema.events import ToolCallDelta
from headrace.worker.engines.vllm.reading.base import CallIds, Piece, Reader

_HEAD = re.compile(r'"name": ?("(?:[^"\\]|\\.)*"),\s*"parameters": ?')


class ForcedCallReader:
    """Reads a sequence that is nothing but tool calls.

    Args:
        ids: of its calls.
        only_tool: the tool whose arguments the text is; None where it is a list of calls.
    """

    def __init__(self, ids: CallIds, *, only_tool: str | None) -> None:
        self._ids = ids
        self._only_tool = only_tool
        self._splitter = CallSplitter()
        self._calls = 0
        self.reasoning_tokens = 0

    @property
    def has_calls(self) -> bool:
        """Whether there was a tool call."""
        return self._calls > 0

    def read(self, text: str, token_ids: Sequence[int], *, is_last: bool) -> Piece:
        """Take what the sequence grew by; see `Reader.read`."""
        del token_ids, is_last
        if not text:
            return Piece()
        return Piece(calls=self._read_arguments(text) if self._only_tool is not None else self._read_list(text))

    def _read_arguments(self, text: str) -> tuple[ToolCallDelta, ...]:
        if self._calls:
            return (ToolCallDelta(0, text),)
        self._calls = 1
        return (ToolCallDelta(0, text, self._ids.make(0), self._only_tool),)

    def _read_list(self, text: str) -> tuple[ToolCallDelta, ...]:
        deltas: list[ToolCallDelta] = []
        for name, arguments in self._splitter.split(text):
            if name is not None:
                deltas.append(ToolCallDelta(self._calls, arguments, self._ids.make(self._calls), name))
                self._calls += 1
            else:
                deltas.append(ToolCallDelta(self._calls - 1, arguments))
        return tuple(deltas)


class CallSplitter:
    """Cuts a list of calls into their names and arguments, wherever the text is cut."""

    def __init__(self) -> None:
        self._held = ""
        self._depth = 0
        self._in_string = False
        self._is_escaped = False

    def split(self, text: str) -> list[tuple[str | None, str]]:
        """Return what the calls grew by: a name where one begins, and the next piece of its arguments."""
        found: list[tuple[str | None, str]] = []
        rest = self._held + text
        self._held = ""
        while rest:
            if self._depth:
                arguments, rest = self._take_arguments(rest)
                found.append((None, arguments))
                continue
            head = _HEAD.search(rest)
            # The arguments are an object: until its brace is there, there is nothing to send.
            if head is None or head.end() == len(rest):
                self._held = rest
                break
            name: str = msgspec.json.decode(head[1], type=str)
            arguments, rest = self._take_arguments(rest[head.end() :])
            found.append((name, arguments))
        return found

    def _take_arguments(self, text: str) -> tuple[str, str]:
        """Return what belongs to the arguments that are open, or begin here, and what comes after."""
        for i, character in enumerate(text):
            if self._is_escaped:
                self._is_escaped = False
            elif character == '"':
                self._in_string = not self._in_string
            elif self._in_string:
                self._is_escaped = character == "\\"
            elif character == "{":
                self._depth += 1
            elif character == "}":
                self._depth -= 1
                if self._depth == 0:
                    return text[: i + 1], text[i + 1 :]
        return text, ""


class ReasoningThenCalls:
    """Reads a sequence that thinks first, and then is nothing but tool calls.

    Args:
        reasoning: reads the thoughts, and gives what comes after them as text.
        calls: reads that text.
    """

    def __init__(self, reasoning: Reader, calls: ForcedCallReader) -> None:
        self._reasoning = reasoning
        self._calls = calls

    @property
    def has_calls(self) -> bool:
        """Whether there was a tool call."""
        return self._calls.has_calls

    @property
    def reasoning_tokens(self) -> int:
        """Tokens that were reasoning, up to here."""
        return self._reasoning.reasoning_tokens

    def read(self, text: str, token_ids: Sequence[int], *, is_last: bool) -> Piece:
        """Take what the sequence grew by; see `Reader.read`."""
        thought = self._reasoning.read(text, token_ids, is_last=is_last)
        # The model may put a line between its thoughts and its calls.
        answer = thought.text if self._calls.has_calls else thought.text.lstrip()
        said = self._calls.read(answer, (), is_last=is_last)
        return Piece(reasoning=thought.reasoning, calls=said.calls, is_thinking=thought.is_thinking)
