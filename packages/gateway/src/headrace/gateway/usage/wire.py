"""The bodies of usage reports. They have the shape of OpenAI's: a page of buckets of time, each with results."""

from typing import Literal

from msgspec import Struct


class UsageResult(Struct, frozen=True, kw_only=True):
    """What some generations of one bucket used together.

    Attributes:
        object: always the same.
        project_id: the tenant; null unless grouped by `tenant`.
        api_key_id: the key; null unless grouped by `key`.
        model: the served name; null unless grouped by `model`.
        route: who ran it; null unless grouped by `route`.
        outcome: how it ended; null unless grouped by `outcome`.
        num_model_requests: generations.
        input_tokens: of prompts, those of the cache included.
        output_tokens: of answers.
        input_cached_tokens: of prompts, from the cache.
        output_reasoning_tokens: of answers, that were reasoning.
        cost_micros: in millionths of the currency.
        project_name: what the tenant is called; null unless grouped by `tenant`, and of one that is gone.
        api_key_name: what the key is called; null unless grouped by `key`, and of one that is gone.
        api_key_prefix: how the key's newest secret begins, after `hr_`.
    """

    object: Literal["headrace.usage.result"] = "headrace.usage.result"
    project_id: str | None = None
    api_key_id: str | None = None
    model: str | None = None
    route: str | None = None
    outcome: str | None = None
    num_model_requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    input_cached_tokens: int = 0
    output_reasoning_tokens: int = 0
    cost_micros: int = 0
    project_name: str | None = None
    api_key_name: str | None = None
    api_key_prefix: str | None = None


class UsageBucket(Struct, frozen=True, kw_only=True):
    """A time: a day where it is grouped by `day`, else all that was asked for.

    Attributes:
        object: always the same.
        start_time: its first instant, Unix seconds.
        end_time: the first instant after it, Unix seconds.
        results: what was used in it.
    """

    object: Literal["bucket"] = "bucket"
    start_time: int
    end_time: int
    results: tuple[UsageResult, ...]


class UsageBody(Struct, frozen=True, kw_only=True):
    """One page of a report.

    Attributes:
        object: always the same.
        data: buckets, the earliest first; one whose results are more than a page goes on in the next.
        has_more: whether there is a next page.
        next_page: what `page` must be for it.
        currency: what costs are in.
    """

    object: Literal["page"] = "page"
    data: tuple[UsageBucket, ...]
    has_more: bool
    next_page: str | None
    currency: str
