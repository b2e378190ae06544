"""What the suite needs of a dialect: a request for a script, and what its frames and bodies tell."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from headrace.gateway.dialects.base import Dialect, ParsedCall, Rendering
from headrace.scheduler.base import Submission
from headrace.schema.events import FinishReason
from headrace.schema.messages import ImagePart, Message, Part, ReasoningPart, ToolCallPart, ToolResultPart
from tests.contract.dialects.scripts import REQUEST_ID, Feature, Script

TOOLS: dict[str, dict[str, Any]] = {
    "get_weather": {"type": "object", "properties": {"city": {"type": "string"}}},
    "get_time": {"type": "object", "properties": {}},
}
MODEL = "demo"


class Frame(Struct, frozen=True):
    """One item of a stream of server-sent events; `data` is JSON or a vendor's end mark."""

    event: str | None
    id: str | None
    data: str

    def read(self) -> dict[str, Any]:
        """Return its data, which must be a JSON object."""
        return msgspec.json.decode(self.data, type=dict[str, Any])


class Signed(Struct, frozen=True):
    """What a vendor signed, as it is after a client has sent it back.

    Attributes:
        kind: the tag of the part.
        content: the thought, the text, or the name of the tool.
        value: the signature.
        signed_by: whose it is.
        is_redacted: the thought itself is in it.
    """

    kind: str
    content: str
    value: str
    signed_by: str | None
    is_redacted: bool = False


def signed_in(messages: Sequence[Message]) -> tuple[Signed, ...]:
    """Return what is signed of a conversation."""
    return tuple(found for message in messages for part in message.parts for found in signed_of(part))


def signed_of(part: Part) -> tuple[Signed, ...]:
    """Return a part as what is signed, if it is."""
    if isinstance(part, ImagePart | ToolResultPart) or not part.signature:
        return ()
    kind = str(part.__struct_config__.tag)
    content = part.name if isinstance(part, ToolCallPart) else part.text
    is_redacted = isinstance(part, ReasoningPart) and part.is_redacted
    return (Signed(kind, content, part.signature, part.signed_by, is_redacted),)


class ToldSequence(Struct, frozen=True, kw_only=True):
    """What a client learns of a sequence; None where the dialect has no word for it, or was not asked.

    Attributes:
        text: all of it.
        end: why it ended, in the vendor's word.
        stop: the stop text.
        reasoning: what it thought.
        calls: names and arguments, decoded.
        call_ids: the ids of the calls.
        logprobs: of its tokens.
        token_ids: of its tokens.
        signed: what comes back of the signatures when the client sends the answer back as it got it.
    """

    text: str
    end: str | None
    stop: str | None = None
    reasoning: str | None = None
    calls: tuple[tuple[str, Any], ...] = ()
    call_ids: tuple[str, ...] = ()
    logprobs: tuple[float | None, ...] | None = None
    token_ids: tuple[int, ...] | None = None
    signed: tuple[Signed, ...] = ()


class Told(Struct, frozen=True, kw_only=True):
    """What a client learns of an answer.

    Attributes:
        sequences: by index.
        usage: as the vendor tells it.
        prompts: texts of the prompts, where they come back.
    """

    sequences: dict[int, ToldSequence]
    usage: dict[str, Any] | None
    prompts: tuple[str, ...] | None = None


class DialectAdapter(Protocol):
    """A dialect under test."""

    @property
    def name(self) -> str: ...

    @property
    def features(self) -> frozenset[Feature]:
        """What its requests can ask for."""
        ...

    @property
    def signs(self) -> frozenset[str]:
        """The kinds of parts whose signatures it has a place for."""
        ...

    @property
    def ends(self) -> Mapping[FinishReason, str]:
        """The vendor's words for the ends of a sequence."""
        ...

    @property
    def dialect(self) -> Dialect:
        """Writes its errors."""
        ...

    def open(self, script: Script, *, stream: bool) -> Rendering:
        """Return what writes the answer to a request that asks for what the script has."""
        ...

    def can_stream(self, script: Script) -> bool:
        """Tell whether such an answer may be a stream."""
        ...

    def is_terminal(self, frame: Frame) -> bool:
        """Tell whether a client stops reading after this frame."""
        ...

    def read_frames(self, frames: Sequence[Frame]) -> Told:
        """Add up a stream, as a client would."""
        ...

    def read_whole(self, body: dict[str, Any]) -> Told:
        """Read a whole answer."""
        ...

    def read_tokens(self, usage: dict[str, Any]) -> tuple[int, int]:
        """Return the tokens of the prompt and of the answer."""
        ...

    def read_failure(self, frames: Sequence[Frame]) -> str:
        """Return the message of the failure that ended a stream, and check its shape."""
        ...

    def read_error(self, body: dict[str, Any]) -> str:
        """Return the message of an error answer, and check its shape."""
        ...


def open_rendering(parsed: ParsedCall, *, stream: bool) -> Rendering:
    """Return the rendering of a call that was read."""
    assert parsed.stream == stream
    return parsed.rendering(Submission(request_id=REQUEST_ID, request=parsed.request))


def decode_arguments(arguments: str) -> Any:
    """Return the arguments of a call, which are JSON."""
    return msgspec.json.decode(arguments)
