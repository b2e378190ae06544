"""The one edge where whatever went wrong becomes an HTTP answer, in the shape of the API that was spoken."""

import math
from collections.abc import Mapping, Sequence

from litestar import Response
from litestar.exceptions import HTTPException
from msgspec import structs

from headrace.gateway.asgi import HttpRequest
from headrace.gateway.callers import caller_of
from headrace.gateway.desk import REQUEST_ID_STATE
from headrace.gateway.dialects.base import Dialect
from headrace.gateway.facts import GatewayObserver, RequestRefusal
from headrace.gateway.failure import CallFailedError, Failure, failure_of_code, failure_of_error
from headrace.gateway.headers import ANTHROPIC_VERSION_HEADER, request_id_headers
from headrace.gateway.unexpected import report_unexpected
from headrace.schema.caller import Caller
from headrace.schema.errors import ErrorCode, HeadraceError, answer_for

PATH_CHARACTERS = 200
# Where nobody knows when it is worth another try.
RETRY_AFTER_SECONDS = 1
_CODES = {
    400: ErrorCode.INVALID_REQUEST,
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.METHOD_NOT_ALLOWED,
    413: ErrorCode.PAYLOAD_TOO_LARGE,
    415: ErrorCode.UNSUPPORTED_MEDIA_TYPE,
}


class FailureEdge:
    """Answers exceptions.

    Args:
        native: the shape of all outside `/v1`.
        openai: the shape of what is below `/v1` and not in `prefixes`.
        anthropic: the shape of the same, where the request says that its client is Anthropic's.
        prefixes: the shapes of routes below `/v1`, by the path that they begin with.
        observers: are told of requests that never became a generation.
    """

    def __init__(
        self,
        *,
        native: Dialect,
        openai: Dialect,
        anthropic: Dialect,
        prefixes: Mapping[str, Dialect],
        observers: Sequence[GatewayObserver],
    ) -> None:
        self._native = native
        self._openai = openai
        self._anthropic = anthropic
        self._prefixes = prefixes
        self._observers = observers

    def answer(self, request: HttpRequest, error: Exception) -> Response[bytes]:
        """Return the answer to a request that failed."""
        request_id: str | None = request.scope["state"].get(REQUEST_ID_STATE)
        dialect = self._dialect_of(request)
        failure = self._failure_of(request, error, request_id)
        if not isinstance(error, CallFailedError):
            self._report(dialect, failure, request_id, caller_of(request))
        headers = _headers_of(failure)
        if failure.rate_limits is not None:
            headers |= dialect.rate_limit_headers(failure.rate_limits)
        if isinstance(error, HTTPException) and error.headers and (allow := error.headers.get("allow")):
            headers["Allow"] = ", ".join(sorted(allow.split(", ")))
        if request_id is not None:
            headers |= request_id_headers(request_id)
        return Response(
            dialect.encode_failure(structs.replace(failure, request_id=request_id)),
            status_code=dialect.status_of(failure),
            headers=headers,
            media_type="application/json",
        )

    def _dialect_of(self, request: HttpRequest) -> Dialect:
        path = request.scope["path"]
        for prefix, dialect in self._prefixes.items():
            if path == prefix or path.startswith(f"{prefix}/"):
                return dialect
        if not path.startswith("/v1/"):
            return self._native
        return self._anthropic if ANTHROPIC_VERSION_HEADER in request.headers else self._openai

    def _failure_of(self, request: HttpRequest, error: Exception, request_id: str | None) -> Failure:
        match error:
            case CallFailedError():
                return error.failure
            case HeadraceError():
                return failure_of_error(error)
            case HTTPException() if error.status_code in _CODES:
                return failure_of_code(_CODES[error.status_code], _sentence_for(request, error.status_code))
            case _:
                return report_unexpected(error, request_id=request_id)

    def _report(self, dialect: Dialect, failure: Failure, request_id: str | None, caller: Caller) -> None:
        answer = answer_for(failure.code)
        fact = RequestRefusal(
            request_id=request_id,
            dialect=dialect.name,
            code=failure.code,
            status=dialect.status_of(failure),
            log_level=answer.log_level,
            tenant_id=caller.tenant_id,
            key_id=caller.key_id,
        )
        for observer in self._observers:
            observer.request_refused(fact)


def _sentence_for(request: HttpRequest, status: int) -> str:
    """Say what Litestar refused; its own words are not for clients."""
    path = request.scope["path"][:PATH_CHARACTERS]
    if status == 404:
        return f"there is no {request.method} {path}"
    if status == 405:
        return f"{path} does not take {request.method}"
    return "the request can't be read"


def _headers_of(failure: Failure) -> dict[str, str]:
    headers: dict[str, str] = {}
    if failure.retry_after_seconds is not None:
        headers["Retry-After"] = str(max(1, math.ceil(failure.retry_after_seconds)))
    elif failure.status in {429, 503} and failure.retryable:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    if failure.status == 429 and not failure.retryable:
        # Both vendors' clients would try again at once, and know this header.
        headers["X-Should-Retry"] = "false"
    if failure.code == ErrorCode.SHUTTING_DOWN:
        headers["Connection"] = "close"
    if failure.code == ErrorCode.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return headers
