"""What can be said on the command line of `headrace chat`."""

from msgspec import Struct

DEFAULT_URL = "http://127.0.0.1:8000"


class ChatOptions(Struct, frozen=True, kw_only=True):
    """Whom to talk to, and how.

    Attributes:
        model: the served name.
        prompt: one question; `-` reads it from standard input, None talks until you leave.
        url: where the gateway is.
        system: the system message.
        max_tokens: most tokens of one answer.
        temperature: 0 is greedy.
    """

    model: str
    prompt: str | None = None
    url: str = DEFAULT_URL
    system: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
