"""What follows a failure, which failure is told, and how tokens are counted where nobody says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.gateway.routing.decide import Next, TargetFailure, decide, failure_of, failure_of_end, fault_of_code, tell
from headrace.gateway.routing.estimate import OutputEstimate, estimate_input
from headrace.gateway.routing.table import Target
from headrace.gateway.routing.telling import Telling
from headrace.providers.base import Fault, ProviderError
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import (
    GenerationFailed,
    GenerationFinished,
    GenerationQueued,
    GenerationStarted,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    ToolCallDelta,
    Usage,
)
from headrace.schema.messages import ImagePart, Message, TextPart
from headrace.schema.request import ChatCompletionRequest
from tests.support.values import make_request

OWN, AWAY = Target(model="own"), Target(provider="p", model="m", is_local=False)


def _failed(code: ErrorCode, fault: Fault | None, *, target: Target = AWAY, asked: bool = True) -> TargetFailure:
    return TargetFailure(target=target, code=code, message=str(code), fault=fault, was_asked=asked)


@pytest.mark.parametrize(
    ("failure", "following"),
    [
        (_failed(ErrorCode.PROVIDER_ERROR, Fault.UPSTREAM), Next.RETRY),
        (_failed(ErrorCode.PROVIDER_UNAVAILABLE, Fault.REFUSED), Next.OTHER),
        (_failed(ErrorCode.INVALID_REQUEST, Fault.REQUEST), Next.ANSWER),
        (_failed(ErrorCode.UNSUPPORTED_PARAMETER, Fault.REQUEST), Next.OTHER),
        (_failed(ErrorCode.MODEL_NOT_FOUND, Fault.REQUEST), Next.OTHER),
        (_failed(ErrorCode.CONTEXT_LENGTH_EXCEEDED, Fault.REQUEST), Next.LONGER),
        (_failed(ErrorCode.PROVIDER_UNAVAILABLE, None, asked=False), Next.OTHER),
        (_failed(ErrorCode.DEADLINE_EXCEEDED, None), Next.ANSWER),
        (_failed(ErrorCode.OVERLOADED, None, target=OWN), Next.OTHER),
        (_failed(ErrorCode.WORKER_LOST, None, target=OWN), Next.OTHER),
        (_failed(ErrorCode.UNSUPPORTED_PARAMETER, None, target=OWN), Next.OTHER),
        (_failed(ErrorCode.CONTEXT_LENGTH_EXCEEDED, None, target=OWN), Next.LONGER),
        (_failed(ErrorCode.RATE_LIMITED, None, target=OWN), Next.ANSWER),
        (_failed(ErrorCode.DEADLINE_EXCEEDED, None, target=OWN), Next.ANSWER),
        (_failed(ErrorCode.SHUTTING_DOWN, None, target=OWN), Next.ANSWER),
    ],
)
def test_what_follows_a_failure(failure: TargetFailure, following: Next) -> None:
    assert decide(failure, retries_left=1) is following
    assert decide(failure, retries_left=0) is (Next.OTHER if following is Next.RETRY else following)


def test_whose_fault_a_failure_is() -> None:
    assert {code: fault_of_code(code) for code in (ErrorCode.CANCELLED, ErrorCode.INVALID_REQUEST)} == {
        ErrorCode.CANCELLED: None,
        ErrorCode.INVALID_REQUEST: Fault.REQUEST,
    }
    said = ProviderError(ErrorCode.PROVIDER_ERROR, "no key", fault=Fault.REFUSED, retry_after_seconds=3)
    assert failure_of(said, AWAY).fault is Fault.REFUSED
    assert failure_of(said, AWAY).retry_after_seconds == 3
    assert failure_of(HeadraceError(ErrorCode.STREAM_BROKEN, "broken"), AWAY).fault is Fault.UPSTREAM
    assert failure_of(HeadraceError(ErrorCode.STREAM_BROKEN, "broken"), OWN).fault is None
    unknown = failure_of_end(GenerationFailed("from_the_future", "?", "decode", retryable=True), AWAY)
    assert (unknown.code, unknown.fault) == (ErrorCode.INTERNAL_ERROR, Fault.UPSTREAM)


def test_the_most_telling_failure_is_told() -> None:
    skipped = _failed(ErrorCode.PROVIDER_UNAVAILABLE, None, asked=False)
    refused = _failed(ErrorCode.UNSUPPORTED_PARAMETER, Fault.REQUEST, target=OWN)
    ill = _failed(ErrorCode.PROVIDER_ERROR, Fault.UPSTREAM)
    assert tell([skipped]).message == "provider_unavailable"
    assert tell([ill, refused, skipped]).code is ErrorCode.PROVIDER_ERROR
    assert tell([ill, skipped]).code is ErrorCode.PROVIDER_ERROR
    assert tell([refused, skipped]).message == "provider_unavailable (tried: own, p/m)"


@given(st.lists(st.floats(0, 99) | st.none(), min_size=1, max_size=5))
def test_the_shortest_pause_is_told(waits: list[float | None]) -> None:
    failures = [
        TargetFailure(target=AWAY, code=ErrorCode.PROVIDER_UNAVAILABLE, message="", retry_after_seconds=wait)
        for wait in waits
    ]
    assert tell(failures).retry_after_seconds == min((wait for wait in waits if wait is not None), default=None)


def test_tokens_are_about_four_bytes() -> None:
    assert estimate_input(make_request(text="12345678")) == 2
    assert estimate_input(ChatCompletionRequest(model="m", prompts=("1234", (1, 2, 3)))) == 4
    picture = Message("user", (TextPart("x"), ImagePart(url="https://example.com/" + "x" * 9999)))
    assert 1000 <= estimate_input(ChatCompletionRequest(model="m", messages=(picture,))) < 1020
    output = OutputEstimate()
    output.add(
        [SequenceDelta(0, "1234", reasoning="12345"), SequenceDelta(0, "", tool_calls=(ToolCallDelta(0, "{}"),))]
    )
    assert (output.output_tokens, output.reasoning_tokens) == (3, 2)


def test_what_opens_a_stream_waits_for_what_it_opens() -> None:
    telling = Telling(make_request())
    assert telling.take([GenerationQueued(1)]) == [GenerationQueued(1)]
    assert telling.take([GenerationStarted("w", 7), SequenceStarted(0)]) == []
    assert telling.usage == Usage(7, 0)
    delta = SequenceDelta(0, "Hi")
    assert telling.take([delta]) == [GenerationStarted("w", 7), SequenceStarted(0), delta]
    end = GenerationFinished(Usage(7, 1))
    assert telling.take([SequenceFinished(0, "stop"), end, delta]) == [SequenceFinished(0, "stop"), end]
    assert telling.usage == Usage(7, 1)


def test_an_answer_without_a_word_is_an_answer() -> None:
    telling = Telling(make_request())
    events = [GenerationStarted("w"), SequenceStarted(0), SequenceFinished(0, "stop"), GenerationFinished(Usage(2, 0))]
    assert telling.take(events) == events


def test_a_failure_before_a_word_tells_nothing() -> None:
    telling = Telling(make_request())
    failed = GenerationFailed("provider_error", "no", "prefill", retryable=True)
    assert telling.take([GenerationStarted("w"), SequenceStarted(0), SequenceFinished(0, "error"), failed]) == []
    assert not telling.has_told
    assert telling.end is not None
