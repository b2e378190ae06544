"""Settings of the way from a request to a task."""

from typing import Annotated

from msgspec import Meta, Struct

from headrace.schema.settings.values import Seconds
from headrace.schema.task import MAX_PRIORITY


class SchedulerSettings(Struct, frozen=True, kw_only=True):
    """From a request to a task."""

    request_timeout_seconds: Annotated[
        Seconds,
        Meta(
            description="A request that has not ended after this time fails with deadline_exceeded. "
            "The header Headrace-Timeout-Seconds sets it for one request, up to max_request_timeout_seconds."
        ),
    ] = 600.0
    max_request_timeout_seconds: Annotated[
        Seconds, Meta(description="Most that the header Headrace-Timeout-Seconds may ask for.")
    ] = 3600.0
    default_priority: Annotated[
        int,
        Meta(
            ge=0,
            le=MAX_PRIORITY,
            description="Priority of a request without the header Headrace-Priority; higher goes first.",
        ),
    ] = 5
    publish_wait_seconds: Annotated[
        Seconds,
        Meta(
            description="How long a request waits for a broker that was lost before it fails with 503; one that was "
            "never there is waited for at most 2 seconds."
        ),
    ] = 60.0
    max_attempts: Annotated[
        int,
        Meta(ge=1, le=100, description="Workers that may be lost under one request before it fails with worker_lost."),
    ] = 3
    ageing_seconds: Annotated[
        Seconds,
        Meta(description="A request that no worker took for this time goes up by 3 priorities, and again, up to 9."),
    ] = 30.0
    batch_ageing_seconds: Annotated[
        Seconds,
        Meta(description="A request of the batch lane that no worker took for this time goes over to the online lane."),
    ] = 600.0
    max_wait_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=86400.0,
            description="A request whose expected wait is longer is refused with 429; 0 for its own deadline only.",
        ),
    ] = 0.0
    max_waiting: Annotated[
        int,
        Meta(
            ge=0,
            le=10_000_000,
            description="Requests that may wait for one deployment, of all gateways together, before one more is "
            "refused with 429; 0 for no limit.",
        ),
    ] = 0
    max_in_flight: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Requests one gateway holds at once; one more is refused with 429.")
    ] = 10_000
