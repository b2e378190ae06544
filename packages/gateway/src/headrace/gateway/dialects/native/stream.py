"""The frames of a native stream: one for each batch, with the events of any sequences.

    event: chunk
    id: gen_…:7
    data: {"events":[{"type":"sequence_delta","index":0,"text":"Hi"}]}

The id is the request and the number of events up to and including the frame. The stream ends after its terminal event.
"""

from collections.abc import Sequence
from typing import assert_never

import msgspec

from headrace.gateway.answer import Answer
from headrace.gateway.dialects.native import wire
from headrace.gateway.dialects.native.errors import to_detail
from headrace.gateway.dialects.native.render import (
    to_logprobs,
    to_prompt_logprobs,
    to_signature,
    to_timings,
    to_tool_calls,
    to_usage,
    to_vector,
    to_whole_answer,
)
from headrace.gateway.failure import failure_of_event
from headrace.gateway.frames import encode_text, encode_value
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


class NativeRendering:
    """Writes the answer to one call.

    Args:
        submission: the call.

    Attributes:
        position: events of the stream that were rendered so far.
    """

    def __init__(self, submission: Submission) -> None:
        self._request_id = submission.request_id
        self._model = submission.request.model
        self._output = submission.request.output
        self._head = f"event: {wire.EVENT_NAME}\nid: {submission.request_id}:".encode()
        self.position = 0
        output = self._output
        self._is_text_only = not (output.token_ids or output.reasoning or output.logprobs or output.signatures)

    def render_events(self, events: Sequence[Event]) -> bytes:
        """Return one frame with all of the events."""
        self.position += len(events)
        body = b",".join([self._encode(event) for event in events])
        return b'%b%d\ndata: {"events":[%b]}\n\n' % (self._head, self.position, body)

    def render_answer(self, answer: Answer) -> bytes:
        """Return the body of a whole answer."""
        whole = to_whole_answer(answer, request_id=self._request_id, model=self._model, output=self._output)
        return msgspec.json.encode(whole)

    def _encode(self, event: Event) -> bytes:
        if isinstance(event, SequenceDelta):
            return self._encode_delta(event)
        return encode_value(self._to_wire(event))

    def _encode_delta(self, event: SequenceDelta) -> bytes:
        if self._is_text_only and not event.tool_calls:
            return b'{"type":"sequence_delta","index":%d,"text":%b}' % (event.index, encode_text(event.text))
        output = self._output
        return encode_value(
            wire.SequenceDeltaEvent(
                index=event.index,
                text=event.text,
                token_ids=event.token_ids if output.token_ids else None,
                reasoning=event.reasoning if output.reasoning else "",
                tool_calls=to_tool_calls(event.tool_calls, output),
                logprobs=to_logprobs(event.logprobs) if output.logprobs else None,
                thought_signature=to_signature(event.thought_signature, output) if output.reasoning else None,
                text_signature=to_signature(event.text_signature, output),
            )
        )

    def _to_wire(
        self,
        event: GenerationQueued
        | GenerationStarted
        | SequenceStarted
        | SequenceFinished
        | GenerationFinished
        | GenerationFailed
        | PromptEchoed
        | PromptEmbedded,
    ) -> wire.StreamEvent:
        output = self._output
        match event:
            case GenerationQueued():
                return wire.GenerationQueuedEvent(position=event.position, eta_seconds=event.eta_seconds)
            case GenerationStarted():
                return wire.GenerationStartedEvent(input_tokens=event.input_tokens if output.usage else None)
            case SequenceStarted():
                return wire.SequenceStartedEvent(index=event.index)
            case SequenceFinished():
                return wire.SequenceFinishedEvent(
                    index=event.index, finish_reason=event.finish_reason, stop_sequence=event.stop_sequence
                )
            case GenerationFinished():
                return wire.GenerationFinishedEvent(
                    usage=to_usage(event.usage, output), timings=to_timings(event.timings, output)
                )
            case GenerationFailed():
                detail = to_detail(failure_of_event(event))
                return wire.GenerationFailedEvent(error=detail, stage=event.stage, usage=to_usage(event.usage, output))
            case PromptEchoed():
                return wire.PromptEchoedEvent(
                    index=event.index, text=event.text, token_ids=event.token_ids, logprobs=to_prompt_logprobs(event)
                )
            case PromptEmbedded():
                return wire.PromptEmbeddedEvent(index=event.index, vector=to_vector(event))
            case _:
                assert_never(event)
