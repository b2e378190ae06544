"""Why a call gets no retained generation, and what its readers are told that is no part of one."""

from headrace.gateway.headers import IDEMPOTENCY_HEADER, LAST_EVENT_ID_HEADER
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import GenerationFailed
from headrace.transport.retention import RetentionUnavailableError


class RetentionRefusedError(HeadraceError):
    """A generation can't be retained, or one that is can't be found, now."""


def unavailable(error: RetentionUnavailableError) -> RetentionRefusedError:
    """Return the failure of a call while the store is away."""
    return RetentionRefusedError(ErrorCode.BROKER_UNAVAILABLE, f"{error}; try again soon, or without retention")


def store_is_full() -> RetentionRefusedError:
    """Return the failure of a call for which there is no room."""
    message = "as many generations are retained as may be; try again soon, or without retention"
    return RetentionRefusedError(ErrorCode.OVERLOADED, message)


def unknown_generation() -> HeadraceError:
    """Return the failure of a call for a generation that is not kept."""
    return HeadraceError(ErrorCode.NOT_FOUND, "there is no generation with this id, or it is kept no more", param="id")


def key_is_taken() -> HeadraceError:
    """Return the failure of a call whose idempotency key stands for another request."""
    message = f"the header {IDEMPOTENCY_HEADER} was sent before, with another request"
    return HeadraceError(ErrorCode.CONFLICT, message, param=IDEMPOTENCY_HEADER)


def kept_no_more(request_id: str) -> HeadraceError:
    """Return the failure of a call that goes on with what is not there: another generation would not fit on to it."""
    message = (
        f"the generation '{request_id}', which the header {LAST_EVENT_ID_HEADER} names, is not kept here, or no more; "
        "send the request without that header, and it is answered from the start"
    )
    return HeadraceError(ErrorCode.CONFLICT, message, param=LAST_EVENT_ID_HEADER)


def of_another_generation(request_id: str, *, wanted: str) -> HeadraceError:
    """Return the failure of a call that names a frame of one generation and asks for another."""
    message = f"the header {LAST_EVENT_ID_HEADER} names a frame of '{request_id}', and not of {wanted}"
    return HeadraceError(ErrorCode.CONFLICT, message, param=LAST_EVENT_ID_HEADER)


def beyond_the_end(text: str, count: int) -> HeadraceError:
    """Return the failure of a call that names a frame which its generation has not told."""
    message = (
        f"the header {LAST_EVENT_ID_HEADER} names '{text}', and this generation has told {count} events; "
        "without that header it is told from the start"
    )
    return HeadraceError(ErrorCode.CONFLICT, message, param=LAST_EVENT_ID_HEADER)


def shutting_down() -> GenerationFailed:
    """Return what a reader is told when this process ends; it is no part of the generation."""
    message = "this gateway is shutting down; take the generation up again by its id"
    return GenerationFailed(ErrorCode.SHUTTING_DOWN, message, "reply", retryable=True)
