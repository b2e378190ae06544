"""Settings of what is counted: quotas, the usage ledger, and prices."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from headrace.schema.settings.values import Seconds

PricePerMillion = Annotated[float, Meta(ge=0, le=1e6)]


class MeteringSettings(Struct, frozen=True, kw_only=True):
    """What is counted, and how."""

    lease_seconds: Annotated[
        Seconds,
        Meta(
            description="What a generation holds of its caller's limits is renewed six times in this time; when a "
            "gateway dies, its generations count as running so long."
        ),
    ] = 30.0
    note_seconds: Annotated[
        Seconds,
        Meta(
            description="How often the journal notes what running generations have used. Of one whose gateway was "
            "killed, and whose worker left no last word, that much is charged."
        ),
    ] = 1.0
    last_word_seconds: Annotated[
        Seconds,
        Meta(
            description="How long what a killed gateway ran waits, when its journal is found, for the last words of "
            "the workers: what they really made of it. They leave them in Redis."
        ),
    ] = 10.0
    assumed_output_tokens: Annotated[
        int,
        Meta(
            ge=0,
            description="Tokens that are reserved for the answer to a request that does not say how many it may have; "
            "0 reserves all that the model's context leaves, so that no budget is ever passed.",
        ),
    ] = 0
    record_anonymous: Annotated[
        bool,
        Meta(description="Whether requests that carry no tenant's key are written to the usage ledger too."),
    ] = False
    journal_folder: Annotated[
        str,
        Meta(
            description="Folder for what the usage ledger has not written to the database yet; empty for usage in "
            "storage.folder. It must outlive a gateway that is killed, and gateways of one machine may share it."
        ),
    ] = ""
    journal_sync: Annotated[
        Literal["never", "always"],
        Meta(
            description="`always` has every batch of the journal on the disk before the first event of its generations "
            "is sent, for machines that may lose power; `never` leaves it to the system, which is enough for a process "
            "that is killed."
        ),
    ] = "never"
    currency: Annotated[str, Meta(description="What the prices are in, as reports show it.")] = "USD"


class PriceSettings(Struct, frozen=True, kw_only=True):
    """What the tokens of one served name cost. What has no price costs nothing."""

    input: Annotated[PricePerMillion, Meta(description="Price of a million tokens of prompts.")] = 0.0
    output: Annotated[PricePerMillion, Meta(description="Price of a million tokens of answers.")] = 0.0
    cached: Annotated[
        PricePerMillion | None,
        Meta(description="Price of a million tokens of prompts that the cache had; none for that of the others."),
    ] = None
