"""A refusal in words for the client."""

from headrace.accounts.quota.base import LimitKind, Refused
from headrace.schema.caller import RateLimits
from headrace.schema.errors import ErrorCode, HeadraceError

MAX_TOKENS_PARAM = "generation_parameters.max_tokens"
_WORDS = {
    LimitKind.CONCURRENT: "{limit} generations at once",
    LimitKind.REQUESTS_PER_MINUTE: "{limit} requests a minute",
    LimitKind.TOKENS_PER_MINUTE: "{limit} tokens a minute",
    LimitKind.TOKENS_PER_DAY: "{limit} tokens a day",
    LimitKind.TOKENS_PER_MONTH: "{limit} tokens a month",
    LimitKind.COST_PER_MONTH: "its cost of a month",
}
# They pass by themselves soon; a budget lasts until it is raised, or the next period begins.
_RATES = frozenset({LimitKind.CONCURRENT, LimitKind.REQUESTS_PER_MINUTE, LimitKind.TOKENS_PER_MINUTE})


class QuotaRefusedError(HeadraceError):
    """A limit is in the way.

    Attributes:
        kind: which limit.
        rate_limits: where the caller stands.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        kind: LimitKind,
        rate_limits: RateLimits,
        param: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(code, message, param=param, retry_after_seconds=retry_after_seconds)
        self.kind = kind
        self.rate_limits = rate_limits


def to_error(refused: Refused, *, wanted_tokens: int) -> QuotaRefusedError:
    """Return the failure that a refusal stands for.

    Args:
        refused: what the store said.
        wanted_tokens: what the request would have reserved.
    """
    who = "key" if refused.subject.startswith("key:") else "tenant"
    limit = _WORDS[refused.kind].format(limit=refused.limit)
    if refused.retry_after_seconds is None:
        # No time helps: the same request would be refused for ever.
        return QuotaRefusedError(
            ErrorCode.QUOTA_EXCEEDED,
            f"this request may use up to {wanted_tokens} tokens, and this {who} is limited to {limit}: "
            "ask for fewer tokens, or send a shorter prompt",
            param=MAX_TOKENS_PARAM,
            kind=refused.kind,
            rate_limits=refused.rate_limits,
        )
    if refused.kind in _RATES:
        return QuotaRefusedError(
            ErrorCode.RATE_LIMITED,
            f"this {who} is limited to {limit}; try again later",
            kind=refused.kind,
            retry_after_seconds=refused.retry_after_seconds,
            rate_limits=refused.rate_limits,
        )
    return QuotaRefusedError(
        ErrorCode.QUOTA_EXCEEDED,
        f"this request may use up to {wanted_tokens} tokens, and that is more than the budget of this {who} has left: "
        f"it is limited to {limit}; ask for fewer tokens, or come back when the budget begins anew",
        param=MAX_TOKENS_PARAM,
        kind=refused.kind,
        retry_after_seconds=refused.retry_after_seconds,
        rate_limits=refused.rate_limits,
    )
