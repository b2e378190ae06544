"""Settings of generations that outlive their HTTP call."""

from typing import Annotated

from msgspec import Meta, Struct

from headrace.schema.settings.values import Seconds


class RetentionSettings(Struct, frozen=True, kw_only=True):
    """Generations that outlive their HTTP call: in Redis, or in the memory of `headrace serve`."""

    seconds: Annotated[
        Seconds,
        Meta(
            description="How long a retained generation can be taken up again after its end, and how long its "
            "idempotency key stands for it."
        ),
    ] = 600.0
    max_count: Annotated[
        int,
        Meta(
            ge=1,
            description="Most generations that are retained at once; the oldest that have ended go first, and where "
            "all of them still run one more is refused with 429.",
        ),
    ] = 10_000
    max_bytes: Annotated[
        int,
        Meta(ge=1024, description="A retained generation whose events take more than this fails, in bytes."),
    ] = 4 * 1024 * 1024
    max_total_bytes: Annotated[
        int,
        Meta(
            ge=1024,
            description="Memory for all of them where there is no Redis, in bytes. Redis has a limit of its own: "
            "`maxmemory`, with `noeviction`.",
        ),
    ] = 256 * 1024 * 1024
