"""What Anthropic's API answers, as far as it is read here: the events of a stream, token counts, errors.

One Struct holds what any event may have: which kind it is decides what is looked at, and a kind or a block that a newer
version has is passed over, as Anthropic asks of its clients.
"""

from msgspec import Raw, Struct


class OutputDetails(Struct, gc=False):
    """What the tokens of an answer were."""

    thinking_tokens: int | None = None


class UsageBody(Struct, gc=False):
    """Token counts. Those of the prompt do not count what a cache had or was given."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens_details: OutputDetails | None = None


class MessageBody(Struct, gc=False):
    """A message as it begins."""

    usage: UsageBody | None = None


class BlockBody(Struct, gc=False):
    """A block as it begins."""

    type: str = ""
    id: str | None = None
    name: str | None = None
    text: str = ""
    thinking: str = ""
    signature: str = ""
    data: str = ""
    input: Raw = Raw(b"")


class DeltaBody(Struct, gc=False):
    """What a block grew by, or why the message ended."""

    type: str = ""
    text: str = ""
    thinking: str = ""
    signature: str = ""
    partial_json: str = ""
    stop_reason: str | None = None
    stop_sequence: str | None = None


class ErrorDetail(Struct, gc=False):
    """What an error says."""

    type: str = ""
    message: str = ""


class StreamEvent(Struct, gc=False):
    """An event of a stream."""

    type: str
    index: int = 0
    message: MessageBody | None = None
    content_block: BlockBody | None = None
    delta: DeltaBody | None = None
    usage: UsageBody | None = None
    error: ErrorDetail | None = None


class ErrorBody(Struct, gc=False):
    """The body of an error."""

    error: ErrorDetail


class CountBody(Struct, gc=False):
    """A token count."""

    input_tokens: int
