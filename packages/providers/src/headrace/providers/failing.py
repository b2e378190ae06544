"""A provider's failures in our words, whichever vendor it is.

What a vendor says of an error is for the client to read, but it is the word of a stranger: it is made short, kept to
one line, and our key is taken out of it.
"""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from headrace.providers.base import Fault, ProviderError
from headrace.providers.retry_after import read_retry_after
from headrace.schema.errors import ErrorCode
from headrace.schema.events import GenerationFailed, Stage, Usage

MAX_MESSAGE_CHARACTERS = 400
_HIDDEN = "[key]"
_SHORTEST_KEY = 6

_CONTEXT_WORDS = (
    "context length",
    "context window",
    "context_length",
    "exceeds the maximum number of tokens",
    "maximum context",
    "model's context",
    "prompt is too long",
    "too many tokens",
)

Kind = Literal["", "context", "key", "model", "overloaded", "quota", "rate", "refused", "timeout"]


class VendorError(Struct, frozen=True, kw_only=True):
    """What a vendor says of an error, read from its body.

    Attributes:
        message: its sentence, as it came.
        kind: what its own words for the error mean, where that is more than its status says.
        param: the field at fault, by the vendor's name.
        status: the HTTP status that the body names, which counts where the answer itself has begun with 200.
        retry_after_seconds: when it says that the call may be sent again.
    """

    message: str = ""
    kind: Kind = ""
    param: str | None = None
    status: int | None = None
    retry_after_seconds: float | None = None


class _Meaning(Struct, frozen=True):
    code: ErrorCode
    fault: Fault
    what: str


_KINDS: dict[str, _Meaning] = {
    "context": _Meaning(
        ErrorCode.CONTEXT_LENGTH_EXCEEDED, Fault.REQUEST, "says that the request does not fit into the model's context"
    ),
    "key": _Meaning(ErrorCode.PROVIDER_ERROR, Fault.REFUSED, "refuses our key"),
    "model": _Meaning(ErrorCode.MODEL_NOT_FOUND, Fault.REQUEST, "does not have this model"),
    "overloaded": _Meaning(ErrorCode.PROVIDER_UNAVAILABLE, Fault.UPSTREAM, "is overloaded"),
    "quota": _Meaning(ErrorCode.PROVIDER_UNAVAILABLE, Fault.REFUSED, "says that our account there is used up"),
    "rate": _Meaning(ErrorCode.PROVIDER_UNAVAILABLE, Fault.REFUSED, "limits our rate"),
    "refused": _Meaning(ErrorCode.PROVIDER_ERROR, Fault.REFUSED, "does not allow us this"),
    "timeout": _Meaning(ErrorCode.PROVIDER_TIMEOUT, Fault.UPSTREAM, "took too long"),
}
_STATUSES: dict[int, str | _Meaning] = {
    401: "key",
    402: "quota",
    403: "refused",
    404: _Meaning(ErrorCode.MODEL_NOT_FOUND, Fault.REQUEST, "does not know this model or this call"),
    408: "timeout",
    409: _Meaning(ErrorCode.PROVIDER_UNAVAILABLE, Fault.UPSTREAM, "is busy with something else"),
    413: _Meaning(ErrorCode.PAYLOAD_TOO_LARGE, Fault.REQUEST, "finds the request too large"),
    425: "overloaded",
    429: "rate",
    503: "overloaded",
    504: "timeout",
    524: "timeout",
    529: "overloaded",
}
_REFUSED_REQUEST = _Meaning(ErrorCode.INVALID_REQUEST, Fault.REQUEST, "refuses the request")
_ILL = _Meaning(ErrorCode.PROVIDER_ERROR, Fault.UPSTREAM, "failed")


class Complaints:
    """Says what went wrong at one provider.

    Args:
        name: the provider, as the settings call it.
        key: our key there, which no message may hold.
    """

    def __init__(self, name: str, key: str | None) -> None:
        self._name = name
        self._key = key if key is not None and len(key) >= _SHORTEST_KEY else None

    def of_status(self, status: int, error: VendorError, headers: Mapping[str, str]) -> ProviderError:
        """Return the failure that an answer other than 200 stands for."""
        meaning = _find_meaning(status, error)
        wait = read_retry_after(headers)
        return self._say(meaning, f" ({status})", error, error.retry_after_seconds if wait is None else wait)

    def of_event(self, error: VendorError) -> ProviderError:
        """Return the failure that an error inside a stream stands for."""
        return self._say(_find_meaning(error.status or 500, error), "", error, error.retry_after_seconds)

    def broken(self, what: str) -> ProviderError:
        """Return the failure of an answer that ended before it was whole."""
        return ProviderError(
            ErrorCode.STREAM_BROKEN,
            f"the answer of the provider {self._name!r} broke off: {what}",
            fault=Fault.UPSTREAM,
        )

    def garbled(self, what: str) -> ProviderError:
        """Return the failure of an answer that can't be read."""
        message = f"the provider {self._name!r} sent what can't be read: {what}"
        return ProviderError(ErrorCode.PROVIDER_ERROR, message, fault=Fault.UPSTREAM)

    def ill(self, code: ErrorCode, what: str) -> ProviderError:
        """Return the failure of a provider that can't be reached or does not answer."""
        return ProviderError(code, f"the provider {self._name!r} {what}", fault=Fault.UPSTREAM)

    def too_late(self) -> ProviderError:
        """Return the failure of a call whose own time is over, which says nothing of the provider."""
        message = f"the provider {self._name!r} had not answered when the request's time was over"
        return ProviderError(ErrorCode.DEADLINE_EXCEEDED, message, fault=Fault.REQUEST)

    def full(self, count: int) -> ProviderError:
        """Return the refusal of one call more than there are connections."""
        message = f"all {count} connections to the provider {self._name!r} are in use"
        return ProviderError(ErrorCode.PROVIDER_UNAVAILABLE, message, fault=Fault.REFUSED)

    def unsupported(self, what: str, param: str) -> ProviderError:
        """Return the refusal of a feature that this provider does not have."""
        message = f"the provider {self._name!r} does not support {what}"
        return ProviderError(ErrorCode.UNSUPPORTED_PARAMETER, message, fault=Fault.REQUEST, param=param)

    def invalid(self, what: str, param: str) -> ProviderError:
        """Return the refusal of a request that can't be put into this provider's words."""
        return ProviderError(ErrorCode.INVALID_REQUEST, what, fault=Fault.REQUEST, param=param)

    def _say(self, meaning: _Meaning, detail: str, error: VendorError, wait: float | None) -> ProviderError:
        message = f"the provider {self._name!r} {meaning.what}{detail}"
        # What a vendor says of a key may hold a part of it.
        if (said := self._clean(error.message)) and meaning is not _KINDS["key"]:
            message += f": {said}"
        param = error.param if meaning.fault is Fault.REQUEST else None
        return ProviderError(meaning.code, message, fault=meaning.fault, param=param, retry_after_seconds=wait)

    def _clean(self, text: str) -> str:
        if self._key is not None:
            text = text.replace(self._key, _HIDDEN)
        # Cut before the spaces are joined, so that no text is too long for it.
        line = " ".join("".join([c if c.isprintable() else " " for c in text[: 4 * MAX_MESSAGE_CHARACTERS]]).split())
        return line if len(line) <= MAX_MESSAGE_CHARACTERS else line[: MAX_MESSAGE_CHARACTERS - 1] + "…"


def _find_meaning(status: int, error: VendorError) -> _Meaning:
    if error.kind:
        return _KINDS[error.kind]
    if status in (400, 413, 422) and says_context(error.message):
        return _KINDS["context"]
    meaning = _STATUSES.get(status)
    if meaning is not None:
        return _KINDS[meaning] if isinstance(meaning, str) else meaning
    return _REFUSED_REQUEST if 400 <= status < 500 else _ILL


def says_context(message: str) -> bool:
    """Tell whether a vendor's sentence means that the prompt is too long for the model."""
    lower = message[: 4 * MAX_MESSAGE_CHARACTERS].lower()
    return any(word in lower for word in _CONTEXT_WORDS)


def to_failure_event(error: ProviderError, *, stage: Stage, usage: Usage | None) -> GenerationFailed:
    """Return a failure as the event that ends a stream."""
    return GenerationFailed(
        code=error.code,
        message=error.message,
        stage=stage,
        retryable=error.answer.retryable and error.fault is not Fault.REQUEST,
        usage=usage,
        param=error.param,
    )
