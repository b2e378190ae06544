"""What to do when a target failed before it said anything, and which failure to answer with when all have."""

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct, structs

from headrace.gateway.routing.table import Target
from headrace.providers.base import Fault, ProviderError
from headrace.schema.errors import ErrorCode, HeadraceError, answer_for
from headrace.schema.events import GenerationFailed

# Another target may be able to do it.
_ELSEWHERE = frozenset({ErrorCode.UNSUPPORTED_PARAMETER, ErrorCode.MODEL_NOT_FOUND})
_REQUEST = frozenset(
    {
        ErrorCode.INVALID_REQUEST,
        ErrorCode.UNSUPPORTED_PARAMETER,
        ErrorCode.CONTEXT_LENGTH_EXCEEDED,
        ErrorCode.PAYLOAD_TOO_LARGE,
        ErrorCode.MODEL_NOT_FOUND,
        ErrorCode.NOT_FOUND,
    }
)
_REFUSED = frozenset({ErrorCode.RATE_LIMITED, ErrorCode.QUOTA_EXCEEDED, ErrorCode.OVERLOADED})
# Of our own workers: they can't now, or lost what they had begun.
_OWN_UNABLE = frozenset(
    {
        ErrorCode.OVERLOADED,
        ErrorCode.BROKER_UNAVAILABLE,
        ErrorCode.WORKER_LOST,
        ErrorCode.ENGINE_DEAD,
        ErrorCode.ENGINE_ERROR,
        ErrorCode.STREAM_BROKEN,
        ErrorCode.PAYLOAD_LOST,
        ErrorCode.INTERNAL_ERROR,
    }
)


class Next(StrEnum):
    """What follows a failure.

    Attributes:
        RETRY: the same target again.
        OTHER: the next target.
        LONGER: the next target that is for long contexts.
        ANSWER: tell the client.
    """

    RETRY = "retry"
    OTHER = "other"
    LONGER = "longer"
    ANSWER = "answer"


class TargetFailure(Struct, frozen=True, kw_only=True):
    """How a target failed before it said anything.

    Attributes:
        target: who.
        code: a value of `ErrorCode`.
        message: one sentence.
        param: the field at fault, where there is one.
        retry_after_seconds: when it may be asked again, where that is known.
        fault: whose fault it is; None where it was not asked, or where it was ours.
        was_asked: whether it was asked at all.
        was_slow: it was given up because it took too long.
        was_expected: it was given up because it would have, so that it may yet be asked again.
    """

    target: Target
    code: ErrorCode
    message: str
    param: str | None = None
    retry_after_seconds: float | None = None
    fault: Fault | None = None
    was_asked: bool = True
    was_slow: bool = False
    was_expected: bool = False


def failure_of(error: HeadraceError, target: Target) -> TargetFailure:
    """Return what an exception of a target says."""
    guess = fault_of_code(error.code) if target.provider else None
    return TargetFailure(
        target=target,
        code=error.code,
        message=error.message,
        param=error.param,
        retry_after_seconds=error.retry_after_seconds,
        fault=error.fault if isinstance(error, ProviderError) else guess,
    )


def failure_of_end(event: GenerationFailed, target: Target) -> TargetFailure:
    """Return what the last event of a target says, where it came before anything else was told."""
    known = event.code in frozenset(ErrorCode)
    code = ErrorCode(event.code) if known else ErrorCode.INTERNAL_ERROR
    fault = fault_of_code(code) if target.provider else None
    return TargetFailure(target=target, code=code, message=event.message, param=event.param, fault=fault)


def fault_of_code(code: str) -> Fault | None:
    """Return whose fault a provider's failure is, by its code; None where it is not the provider's at all."""
    if code in (ErrorCode.CANCELLED, ErrorCode.DEADLINE_EXCEEDED, ErrorCode.SHUTTING_DOWN):
        return None
    if code in _REQUEST:
        return Fault.REQUEST
    return Fault.REFUSED if code in _REFUSED else Fault.UPSTREAM


def decide(failure: TargetFailure, *, retries_left: int) -> Next:
    """Return what to do after a failure."""
    if not failure.was_asked or failure.was_slow:
        return Next.OTHER
    if failure.code == ErrorCode.CONTEXT_LENGTH_EXCEEDED:
        return Next.LONGER
    if failure.code in _ELSEWHERE and failure.fault in (None, Fault.REQUEST):
        return Next.OTHER
    match failure.fault:
        case None:
            return Next.OTHER if not failure.target.provider and failure.code in _OWN_UNABLE else Next.ANSWER
        case Fault.REQUEST:
            return Next.ANSWER
        case Fault.REFUSED:
            return Next.OTHER
        case Fault.UPSTREAM:
            return Next.RETRY if retries_left > 0 else Next.OTHER


def tell(failures: Sequence[TargetFailure]) -> TargetFailure:
    """Return the failure to answer with: the last that says most, with the names of all that were tried.

    One that may pass says more than one that will not, since the request as such can be answered; one that was asked
    says more than one that was set aside.
    """

    def rank(failure: TargetFailure) -> tuple[bool, bool]:
        return answer_for(failure.code).retryable, failure.was_asked

    telling = max(reversed(failures), key=rank)
    names = dict.fromkeys(failure.target.name for failure in failures)
    waits = [item.retry_after_seconds for item in failures if item.retry_after_seconds is not None]
    return structs.replace(
        telling,
        message=f"{telling.message} (tried: {', '.join(names)})" if len(names) > 1 else telling.message,
        retry_after_seconds=min(waits, default=None) if answer_for(telling.code).retryable else None,
    )
