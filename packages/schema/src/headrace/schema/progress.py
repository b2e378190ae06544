"""What the reader of a generation was told so far, sequence by sequence, and how a further attempt goes on from it.

A further attempt tells its whole answer from the start, since only a run from the start has the state that the rest of
the answer depends on: half characters, half stop texts, half tool calls. Its beginning is the tokens that were told
already, so its beginning says the same; `SequenceSeam` takes away exactly as much of it as the reader has.
"""

from array import array

from headrace.schema.events import SequenceDelta, Signature, ToolCallDelta


class SequenceProgress:
    """How far one sequence was told.

    Attributes:
        token_ids: every token, four bytes each.
        text_length: characters of its text.
        reasoning_length: characters of its reasoning.
        logprobs_count: tokens whose log probabilities were told.
        call_lengths: for each tool call that was opened, the characters of its arguments.
        thought_signatures: how many thoughts were signed.
        text_signatures: how many texts were signed.
    """

    __slots__ = (
        "call_lengths",
        "logprobs_count",
        "reasoning_length",
        "text_length",
        "text_signatures",
        "thought_signatures",
        "token_ids",
    )

    def __init__(self) -> None:
        self.token_ids = array("I")
        self.text_length = 0
        self.reasoning_length = 0
        self.logprobs_count = 0
        self.call_lengths: dict[int, int] = {}
        self.thought_signatures = 0
        self.text_signatures = 0

    def note(self, delta: SequenceDelta) -> None:
        """Add what a delta tells."""
        self.text_length += len(delta.text)
        if delta.token_ids is not None:
            self.token_ids.extend(delta.token_ids)
        if delta.reasoning:
            self.reasoning_length += len(delta.reasoning)
        if delta.logprobs is not None:
            self.logprobs_count += len(delta.logprobs)
        for call in delta.tool_calls:
            self.call_lengths[call.index] = self.call_lengths.get(call.index, 0) + len(call.arguments)
        if delta.thought_signature is not None:
            self.thought_signatures += 1
        if delta.text_signature is not None:
            self.text_signatures += 1


class SequenceSeam:
    """Takes away from the deltas of a further attempt what was told before it.

    Args:
        told: how far the sequence had been told when the attempt began.
    """

    __slots__ = (
        "_calls",
        "_logprobs",
        "_opened",
        "_reasoning",
        "_text",
        "_text_signatures",
        "_thought_signatures",
        "_tokens",
        "_told_tokens",
    )

    def __init__(self, told: SequenceProgress) -> None:
        self._told_tokens = array("I", told.token_ids)
        self._tokens = 0
        self._text = told.text_length
        self._reasoning = told.reasoning_length
        self._logprobs = told.logprobs_count
        self._opened = set(told.call_lengths)
        self._calls = dict(told.call_lengths)
        self._thought_signatures = told.thought_signatures
        self._text_signatures = told.text_signatures

    @property
    def is_passed(self) -> bool:
        """Whether the attempt has said all that was told before, so that its deltas are new as a whole."""
        return (
            self._tokens >= len(self._told_tokens)
            and not (self._text or self._reasoning or self._logprobs)
            and not (self._thought_signatures or self._text_signatures)
            and not any(self._calls.values())
        )

    def trim(self, delta: SequenceDelta) -> SequenceDelta | None:
        """Return what is new in a delta, or None where nothing is.

        Raises:
            ValueError: its tokens are not those that were told: it would be a splice of two answers.
        """
        token_ids = self._trim_tokens(delta.token_ids)
        text = delta.text[self._text :]
        self._text -= len(delta.text) - len(text)
        reasoning = delta.reasoning[self._reasoning :]
        self._reasoning -= len(delta.reasoning) - len(reasoning)
        logprobs = delta.logprobs
        if logprobs is not None:
            kept = logprobs[self._logprobs :]
            self._logprobs -= len(logprobs) - len(kept)
            logprobs = kept or None
        calls = tuple(piece for call in delta.tool_calls if (piece := self._trim_call(call)) is not None)
        of_thought, of_text = self._trim_signatures(delta)
        if not (token_ids or text or reasoning or logprobs or calls or of_thought or of_text):
            return None
        return SequenceDelta(delta.index, text, token_ids, logprobs, reasoning, calls, of_thought, of_text)

    def _trim_signatures(self, delta: SequenceDelta) -> tuple[Signature | None, Signature | None]:
        of_thought, of_text = delta.thought_signature, delta.text_signature
        if of_thought is not None and self._thought_signatures:
            self._thought_signatures -= 1
            of_thought = None
        if of_text is not None and self._text_signatures:
            self._text_signatures -= 1
            of_text = None
        return of_thought, of_text

    def _trim_tokens(self, token_ids: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if token_ids is None:
            return None
        told = self._told_tokens[self._tokens : self._tokens + len(token_ids)]
        if told.tolist() != list(token_ids[: len(told)]):
            raise ValueError("the further attempt says something else")
        self._tokens += len(token_ids)
        return token_ids[len(told) :] or None

    def _trim_call(self, call: ToolCallDelta) -> ToolCallDelta | None:
        known = self._calls.get(call.index, 0)
        arguments = call.arguments[known:]
        if known:
            self._calls[call.index] = known - (len(call.arguments) - len(arguments))
        was_opened = call.index in self._opened
        if was_opened and not arguments:
            return None
        return ToolCallDelta(call.index, arguments) if was_opened else call
