"""Folds what a sequence grows by into items, and tells a listener as it goes.

An item ends where another begins: reasoning, then a message, then calls, in whatever order the model writes them. A
stream and a whole answer are made by this one fold, so that they can't differ.
"""

from typing import Literal, Protocol, assert_never

from headrace.gateway.dialects.openai.responses.conversation import HOME
from headrace.gateway.dialects.openai.responses.identity import output_item_id
from headrace.gateway.dialects.openai.responses.items import (
    FunctionCallItem,
    ItemStatus,
    Logprob,
    MessageItem,
    OutputItem,
    OutputText,
    ReasoningItem,
    ReasoningText,
    TopLogprob,
)
from headrace.gateway.dialects.signed_ids import to_signed_id
from headrace.gateway.dialects.signing import write_sealed
from headrace.schema.events import FinishReason, SequenceDelta, Signature, TokenLogprob, ToolCallDelta

Kind = Literal["reasoning", "message", "function_call"]

_PREFIXES: dict[Kind, str] = {"reasoning": "rs", "message": "msg", "function_call": "fc"}


class OpenItem:
    """An item while it grows.

    Attributes:
        kind: what it is.
        id: its id.
        index: its place in the output.
        call_id: of a call, what its result will refer to.
        name: of a call, the tool.
        signature: of a thought, what it is signed with.
    """

    __slots__ = ("_logprobs", "_pieces", "call_id", "id", "index", "kind", "name", "signature")

    def __init__(self, kind: Kind, *, item_id: str, index: int, call: ToolCallDelta | None = None) -> None:
        self.kind: Kind = kind
        self.id = item_id
        self.index = index
        self.call_id = to_signed_id(call.id or "", call.signature) if call else ""
        self.name = (call.name if call else None) or ""
        self.signature: Signature | None = None
        self._pieces: list[str] = []
        self._logprobs: list[Logprob] = []

    def grow(self, piece: str, logprobs: tuple[Logprob, ...] = ()) -> None:
        """Take what it grew by."""
        self._pieces.append(piece)
        self._logprobs.extend(logprobs)

    def to_text(self) -> str:
        """Return what it holds so far: text, a thought, or arguments."""
        return "".join(self._pieces)

    def to_part(self) -> OutputText | ReasoningText:
        """Return its content; a call has none."""
        if self.kind == "reasoning":
            return ReasoningText(self.to_text())
        return OutputText(text=self.to_text(), logprobs=tuple(self._logprobs))

    def to_item(self, status: ItemStatus) -> OutputItem:
        """Return it as it stands; one that is in progress is shown before it holds anything."""
        is_new = status == "in_progress"
        match self.kind:
            case "reasoning":
                thoughts = () if is_new else (ReasoningText(self.to_text()),)
                sealed = None if self.signature is None else write_sealed(self.signature, home=HOME)
                return ReasoningItem(id=self.id, content=thoughts, encrypted_content=sealed, status=status)
            case "message":
                content = () if is_new else (self.to_part(),)
                texts = tuple(part for part in content if isinstance(part, OutputText))
                return MessageItem(id=self.id, status=status, role="assistant", content=texts)
            case "function_call":
                return FunctionCallItem(
                    id=self.id, status=status, call_id=self.call_id, name=self.name, arguments=self.to_text()
                )
            case _:
                assert_never(self.kind)


class OutputListener(Protocol):
    """Is told what becomes of the items."""

    def item_added(self, item: OpenItem) -> None:
        """An item begins."""
        ...

    def item_grew(self, item: OpenItem, piece: str, logprobs: tuple[Logprob, ...]) -> None:
        """It grew."""
        ...

    def item_ended(self, item: OpenItem, whole: OutputItem) -> None:
        """It is whole, or cut off for good."""
        ...


class SilentListener:
    """An `OutputListener` for an answer that is sent in one piece."""

    def item_added(self, item: OpenItem) -> None:
        """Say nothing."""

    def item_grew(self, item: OpenItem, piece: str, logprobs: tuple[Logprob, ...]) -> None:
        """Say nothing."""

    def item_ended(self, item: OpenItem, whole: OutputItem) -> None:
        """Say nothing."""


class OutputFold:
    """Collects the items of a response.

    Args:
        response_id: what their ids are made of.
        listener: is told of each step.
    """

    def __init__(self, response_id: str, listener: OutputListener) -> None:
        self._response_id = response_id
        self._listener = listener
        self._ended: list[OutputItem] = []
        self._open: OpenItem | None = None
        self._call_index: int | None = None
        self._waiting: tuple[Logprob, ...] = ()

    def add(self, delta: SequenceDelta) -> None:
        """Take a delta: its reasoning, then its text, then its calls."""
        if delta.reasoning:
            self._waiting = ()
            self._grow(self._reach("reasoning"), delta.reasoning)
        if delta.thought_signature is not None:
            self._sign(delta.thought_signature)
        if delta.logprobs and (delta.text or not (delta.reasoning or delta.tool_calls)):
            # Tokens that have made no text yet come with the text that they make.
            self._waiting += tuple(to_logprob(token) for token in delta.logprobs)
        if delta.text:
            self._grow(self._reach("message"), delta.text, self._take_waiting())
        for call in delta.tool_calls:
            self._waiting = ()
            item = self._reach_call(call)
            if call.arguments:
                self._grow(item, call.arguments)

    def end(self, reason: FinishReason) -> None:
        """Take the end of the sequence, which ends the item that is open; an answer without any is an empty message."""
        if self._open is None and not self._ended:
            self._reach("message")
        if self._open is None:
            return
        if self._waiting and self._open.kind == "message":
            self._grow(self._open, "", self._take_waiting())
        self._close("incomplete" if reason in ("length", "content_filter") else "completed")

    def to_items(self) -> tuple[OutputItem, ...]:
        """Return all items; one that is open is incomplete."""
        still_open = () if self._open is None else (self._open.to_item("incomplete"),)
        return (*self._ended, *still_open)

    def _sign(self, signature: Signature) -> None:
        """End a thought with its signature; one that only its vendor can read is an item without text."""
        item = self._begin("reasoning") if signature.is_redacted else self._reach("reasoning")
        item.signature = signature
        self._close("completed")

    def _take_waiting(self) -> tuple[Logprob, ...]:
        waiting, self._waiting = self._waiting, ()
        return waiting

    def _grow(self, item: OpenItem, piece: str, logprobs: tuple[Logprob, ...] = ()) -> None:
        item.grow(piece, logprobs)
        self._listener.item_grew(item, piece, logprobs)

    def _reach(self, kind: Kind) -> OpenItem:
        if self._open is not None and self._open.kind == kind:
            return self._open
        return self._begin(kind)

    def _reach_call(self, call: ToolCallDelta) -> OpenItem:
        if self._open is not None and self._open.kind == "function_call" and self._call_index == call.index:
            return self._open
        self._call_index = call.index
        return self._begin("function_call", call)

    def _begin(self, kind: Kind, call: ToolCallDelta | None = None) -> OpenItem:
        if self._open is not None:
            self._close("completed")
        index = len(self._ended)
        item_id = output_item_id(self._response_id, prefix=_PREFIXES[kind], index=index)
        self._open = OpenItem(kind, item_id=item_id, index=index, call=call)
        self._listener.item_added(self._open)
        return self._open

    def _close(self, status: ItemStatus) -> None:
        item = self._open
        if item is not None:
            whole = item.to_item(status)
            self._ended.append(whole)
            self._open = None
            self._listener.item_ended(item, whole)


def to_logprob(token: TokenLogprob) -> Logprob:
    """Return a token in OpenAI's words."""
    tops = tuple(TopLogprob(token=top.text, bytes=_bytes_of(top), logprob=top.logprob) for top in token.top)
    return Logprob(token=token.text, bytes=_bytes_of(token), logprob=token.logprob, top_logprobs=tops)


def _bytes_of(token: TokenLogprob) -> tuple[int, ...]:
    return tuple(token.text.encode() if token.raw is None else token.raw)
