"""The native API tells signatures where they are asked for, and says nothing of them else."""

from typing import Any

import msgspec
import pytest

from headrace.gateway.answer import AnswerFold
from headrace.gateway.dialects.native.stream import NativeRendering
from headrace.scheduler.base import Submission
from headrace.schema.events import (
    Event,
    GenerationFinished,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    Signature,
    ToolCallDelta,
)
from headrace.schema.messages import Message
from headrace.schema.request import ChatCompletionRequest, OutputFlags
from tests.unit.gateway.doubles import USAGE

EVENTS: tuple[Event, ...] = (
    SequenceStarted(0),
    SequenceDelta(
        0,
        "So.",
        reasoning="Hm.",
        tool_calls=(ToolCallDelta(0, "{}", "c", "f", Signature("Y2Fs", "gemini")),),
        thought_signature=Signature("ZW5j", "anthropic", is_redacted=True),
        text_signature=Signature("dGV4dA==", "gemini"),
    ),
    SequenceFinished(0, "tool_calls"),
    GenerationFinished(USAGE),
)
CALL = {"id": "c", "name": "f", "arguments": "{}"}
SIGNED_CALL = CALL | {"signature": "Y2Fs", "signed_by": "gemini"}
SIGNED_TEXT = {"signature": "dGV4dA==", "signed_by": "gemini"}


def _rendering(output: OutputFlags) -> NativeRendering:
    request = ChatCompletionRequest(model="m", messages=(Message("user", "Hi"),), output=output)
    return NativeRendering(Submission(request_id="gen_1", request=request))


def _delta(output: OutputFlags) -> dict[str, Any]:
    frame = _rendering(output).render_events(EVENTS).decode()
    return msgspec.json.decode(frame.split("data: ")[1])["events"][1]


def _sequence(output: OutputFlags) -> dict[str, Any]:
    fold = AnswerFold()
    fold.add(EVENTS)
    return msgspec.json.decode(_rendering(output).render_answer(fold.answer()))["sequences"][0]


@pytest.mark.parametrize("reasoning", [True, False])
def test_what_was_signed(*, reasoning: bool) -> None:
    output = OutputFlags(reasoning=reasoning, signatures=True)
    thought = {"thought_signature": {"signature": "ZW5j", "signed_by": "anthropic", "is_redacted": True}}
    told = {"type": "sequence_delta", "index": 0, "text": "So.", "tool_calls": [{"index": 0, **SIGNED_CALL}]}
    told |= {"text_signature": SIGNED_TEXT} | ({"reasoning": "Hm.", **thought} if reasoning else {})
    assert _delta(output) == told
    thoughts = [
        {"type": "reasoning", "text": "Hm."},
        {"type": "reasoning", "text": "", "signature": "ZW5j", "signed_by": "anthropic", "is_redacted": True},
    ]
    parts = [{"type": "text", "text": "So.", **SIGNED_TEXT}, {"type": "tool_call", **SIGNED_CALL}]
    whole = _sequence(output)
    assert whole["parts"] == [*(thoughts if reasoning else []), *parts]
    assert whole["tool_calls"] == [CALL]


def test_nobody_is_told_who_did_not_ask() -> None:
    told = {"type": "sequence_delta", "index": 0, "text": "So.", "tool_calls": [{"index": 0, **CALL}]}
    assert _delta(OutputFlags()) == told
    whole = _sequence(OutputFlags())
    assert "parts" not in whole
    assert whole["tool_calls"] == [CALL]
