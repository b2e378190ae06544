"""The frames of a completion's stream.

All that is the same in every frame of a choice is made once; a delta of text costs the escaping of its text and one
join. An echo is the first frame of each choice of its prompt.
"""

from collections.abc import Sequence
from typing import assert_never

import msgspec

from headrace.gateway.answer import Answer
from headrace.gateway.dialects.openai.chat.stream import DONE
from headrace.gateway.dialects.openai.completions.answers import Completion, CompletionLogprobs
from headrace.gateway.dialects.openai.completions.errors import to_completion_param
from headrace.gateway.dialects.openai.completions.logprobs import SequenceLogprobs, to_prompt_lists
from headrace.gateway.dialects.openai.completions.render import (
    broken_sequence,
    to_choices,
    to_completion_id,
    to_echo,
    to_finish_reason,
    to_shown_usage,
)
from headrace.gateway.dialects.openai.completions.wire import Shown
from headrace.gateway.dialects.openai.errors import to_body
from headrace.gateway.failure import Failure, failure_of_error, failure_of_event
from headrace.gateway.frames import encode_text, encode_value
from headrace.gateway.headers import created_at
from headrace.scheduler.base import Submission
from headrace.schema.events import (
    Event,
    GenerationFailed,
    GenerationFinished,
    GenerationQueued,
    GenerationStarted,
    PromptEchoed,
    PromptEmbedded,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
)


class CompletionRendering:
    """Writes the answer to one call.

    Args:
        submission: the call.
        shown: what of the answer is shown.
        include_usage: whether a stream ends with a frame of token counts.
    """

    def __init__(self, submission: Submission, *, shown: Shown, include_usage: bool) -> None:
        self._id = to_completion_id(submission.request_id)
        self._request = submission.request
        self._created = created_at(submission.request_id)
        self._include_usage = include_usage
        self._shown = shown
        self._is_plain = shown.generated and shown.logprobs is None and not shown.token_ids
        self._head = b'data: {"id":%b,"object":"text_completion","created":%d,"model":%b,"choices":[' % (
            msgspec.json.encode(self._id),
            self._created,
            encode_text(submission.request.model),
        )
        self._tail = b'],"usage":null}\n\n' if include_usage else b"]}\n\n"
        self._text_tail = b',"logprobs":null,"finish_reason":null}' + self._tail
        self._text_heads: dict[int, bytes] = {}
        self._logprobs: dict[int, SequenceLogprobs] = {}
        self._open: set[int] = set()

    def render_events(self, events: Sequence[Event]) -> bytes:
        """Return the frames of these events, one after the other."""
        frames: list[bytes] = []
        for event in events:
            if not isinstance(event, SequenceDelta):
                frames.append(self._render(event))
            elif not self._is_plain:
                frames.append(self._render_delta(event))
            elif event.text:
                frames += (self._text_head(event.index), encode_text(event.text), self._text_tail)
        return b"".join(frames)

    def render_answer(self, answer: Answer) -> bytes:
        """Return the body of a whole answer.

        Raises:
            HeadraceError: `stream_broken`: a sequence was given up, or the engine left a prompt out.
        """
        return msgspec.json.encode(
            Completion(
                id=self._id,
                created=self._created,
                model=self._request.model,
                choices=to_choices(answer, self._request, self._shown),
                usage=to_shown_usage(answer.usage, self._shown),
            )
        )

    def _render(
        self,
        event: GenerationQueued
        | GenerationStarted
        | SequenceStarted
        | SequenceFinished
        | GenerationFinished
        | GenerationFailed
        | PromptEchoed
        | PromptEmbedded,
    ) -> bytes:
        match event:
            case SequenceStarted():
                self._open.add(event.index)
                return b""
            case SequenceFinished():
                return self._finish_sequence(event)
            case GenerationFinished():
                return self._finish(event)
            case GenerationFailed():
                return _render_failure(failure_of_event(event))
            case PromptEchoed():
                return self._render_prompt(event)
            case GenerationQueued() | GenerationStarted() | PromptEmbedded():
                return b""
            case _:
                assert_never(event)

    def _text_head(self, index: int) -> bytes:
        head = self._text_heads.get(index)
        if head is None:
            head = self._text_heads[index] = b'%b{"index":%d,"text":' % (self._head, index)
        return head

    def _render_prompt(self, prompt: PromptEchoed) -> bytes:
        """Return the first frame of each choice of a prompt, where the prompt is shown."""
        shown, n = self._shown, self._request.generation_parameters.n
        if not (shown.echo or shown.token_ids):
            return b""
        text, logprobs = "", None
        if shown.echo:
            text = to_echo(prompt, self._request)
            logprobs = None if shown.logprobs is None else to_prompt_lists(prompt, text, top=shown.logprobs)
        ids = b',"token_ids":[],"prompt_token_ids":%b' % encode_value(prompt.token_ids) if shown.token_ids else b""
        rest = self._rest_of_choice(text, logprobs, ids)
        indexes = range(prompt.index * n, (prompt.index + 1) * n)
        if shown.logprobs is not None:
            self._logprobs |= {i: SequenceLogprobs(start=len(text), top=shown.logprobs) for i in indexes}
        return b"".join([self._text_head(i) + rest for i in indexes])

    def _render_delta(self, event: SequenceDelta) -> bytes:
        """Return the frame of a delta that has more than text."""
        if not self._shown.generated:
            return b""
        logprobs = self._to_logprobs(event)
        has_ids = self._shown.token_ids and bool(event.token_ids)
        if not (event.text or logprobs or has_ids):
            return b""
        ids = b',"token_ids":%b' % encode_value(event.token_ids) if has_ids else b""
        return self._text_head(event.index) + self._rest_of_choice(event.text, logprobs, ids)

    def _to_logprobs(self, event: SequenceDelta) -> CompletionLogprobs | None:
        if self._shown.logprobs is None or not event.logprobs:
            return None
        sequence = self._logprobs.get(event.index)
        if sequence is None:
            sequence = self._logprobs[event.index] = SequenceLogprobs(start=0, top=self._shown.logprobs)
        return sequence.take(event.logprobs)

    def _rest_of_choice(self, text: str, logprobs: CompletionLogprobs | None, ids: bytes) -> bytes:
        return b'%b,"logprobs":%b,"finish_reason":null%b}%b' % (
            encode_text(text),
            encode_value(logprobs),
            ids,
            self._tail,
        )

    def _finish_sequence(self, event: SequenceFinished) -> bytes:
        reason = to_finish_reason(event.finish_reason, self._shown)
        if reason is None:
            return b""
        self._open.discard(event.index)
        head = self._text_head(event.index)
        return b'%b"","logprobs":null,"finish_reason":"%b"}%b' % (head, reason.encode(), self._tail)

    def _finish(self, event: GenerationFinished) -> bytes:
        if self._open:
            return _render_failure(failure_of_error(broken_sequence()))
        if not self._include_usage:
            return DONE
        usage = msgspec.json.encode(to_shown_usage(event.usage, self._shown))
        return b'%b],"usage":%b}\n\n%b' % (self._head, usage, DONE)


def _render_failure(failure: Failure) -> bytes:
    return b"data: %b\n\n" % encode_value(to_body(failure, to_completion_param))
