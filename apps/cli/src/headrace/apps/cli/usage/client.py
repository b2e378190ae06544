"""A `UsageReport` through a gateway: with the administrators' key all of it, with a tenant's key what is its own."""

from typing import Any

import httpx

from headrace.accounts.ledger.report import UsagePage, UsageQuery, UsageSum
from headrace.apps.cli.asking import ask
from headrace.gateway.usage.wire import UsageBody

NO_KEY = (
    "the key is missing or wrong: set HEADRACE_ACCOUNTS_ADMIN_KEY for all usage, or HEADRACE_API_KEY to the key of a "
    "tenant for its own"
)
NOT_THERE = "this gateway has no usage ledger: it needs accounts.enabled"
OWN_PATH, ADMIN_PATH = "/v1/usage", "/admin/v1/usage"


class UsageClient:
    """Asks a gateway.

    Args:
        http: with the gateway's address and a key.
        is_admin: whether the key is the administrators'.

    Attributes:
        currency: what costs are in, once something was read.
    """

    def __init__(self, http: httpx.AsyncClient, *, is_admin: bool) -> None:
        self._http = http
        self._path = ADMIN_PATH if is_admin else OWN_PATH
        self.currency = ""

    async def read(self, query: UsageQuery) -> UsagePage:
        """Return sums; see `UsageReport`."""
        given: dict[str, Any] = {
            "start": query.start,
            "end": query.end,
            "group_by": ",".join(query.group_by),
            "tenant": query.tenant,
            "key": query.key,
            "model": query.model,
            "limit": query.limit,
            "page": query.after,
        }
        parameters = {name: value for name, value in given.items() if value is not None}
        body = await ask(
            self._http, self._path, UsageBody, parameters=parameters, unauthorized=NO_KEY, not_there=NOT_THERE
        )
        self.currency = body.currency
        sums: list[UsageSum] = []
        for bucket in body.data:
            for each in bucket.results:
                values: dict[str, str | int | None] = {
                    "day": bucket.start_time,
                    "tenant": each.project_id,
                    "key": each.api_key_id,
                    "model": each.model,
                    "route": each.route,
                    "outcome": each.outcome,
                }
                sums.append(
                    UsageSum(
                        group={name: value for name in query.group_by if (value := values[name]) is not None},
                        requests=each.num_model_requests,
                        input_tokens=each.input_tokens,
                        output_tokens=each.output_tokens,
                        cached_tokens=each.input_cached_tokens,
                        reasoning_tokens=each.output_reasoning_tokens,
                        cost_micros=each.cost_micros,
                        tenant_name=each.project_name,
                        key_name=each.api_key_name,
                        key_prefix=each.api_key_prefix,
                    )
                )
        return UsagePage(sums=tuple(sums), after=body.next_page)
