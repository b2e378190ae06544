"""Who sent a request, as far as anything behind the front door needs to know it."""

from msgspec import Struct

from headrace.schema.task import MAX_PRIORITY


class Caller(Struct, frozen=True, kw_only=True):
    """What an API key says about the requests that carry it.

    Attributes:
        tenant_id: whose request it is; fair shares and bills go by it. Empty where there are no accounts.
        key_id: which of the tenant's keys.
        models: the served names that it may ask for; None is all.
        max_priority: the highest priority that it may ask for.
        local_only: its requests never leave for an outside provider.
        retains: its streams may be taken up again, also where the request does not ask for it.
    """

    tenant_id: str = ""
    key_id: str = ""
    models: frozenset[str] | None = None
    max_priority: int = MAX_PRIORITY
    local_only: bool = False
    retains: bool = False


ANONYMOUS = Caller()
"""The caller where there are no accounts: everything is allowed, and nothing is counted."""


class RateLimits(Struct, frozen=True, kw_only=True):
    """Where a caller stands in the limits of a minute, as the vendors' rate-limit headers say it.

    Attributes:
        limit_requests: requests a minute; None where there is no limit.
        remaining_requests: of them, what is left.
        reset_requests_seconds: until all of them are there again.
        limit_tokens: tokens a minute; None where there is no limit.
        remaining_tokens: of them, what is left.
        reset_tokens_seconds: until all of them are there again.
    """

    limit_requests: int | None = None
    remaining_requests: int = 0
    reset_requests_seconds: float = 0.0
    limit_tokens: int | None = None
    remaining_tokens: int = 0
    reset_tokens_seconds: float = 0.0
