"""From the bytes of a completion's body to a request.

As in a chat, each field is supported, ignored, known but not supported, or unknown; see `chat.parse`.
"""

from functools import partial

from headrace.gateway.dialects.base import ParsedCall
from headrace.gateway.dialects.openai.chat.refusing import only_with, unsupported
from headrace.gateway.dialects.openai.completions.request import to_request, to_shown
from headrace.gateway.dialects.openai.completions.stream import CompletionRendering
from headrace.gateway.dialects.openai.completions.wire import (
    ADVICE,
    IGNORED_FIELDS,
    UNSUPPORTED_FIELDS,
    CompletionBody,
)
from headrace.gateway.dialects.openai.extras import to_priority
from headrace.gateway.dialects.openai.fields import refuse_unsupported
from headrace.gateway.strict import StrictReader, decode_object
from headrace.schema.checks import check_request


class CompletionParser:
    """Reads bodies of completions."""

    def __init__(self) -> None:
        self._reader = StrictReader(CompletionBody)

    def parse(self, body: bytes) -> ParsedCall:
        """Return what the body asks for.

        Raises:
            HeadraceError: `invalid_request` or `unsupported_parameter`, naming the field.
        """
        fields = decode_object(body)
        refuse_unsupported(fields, UNSUPPORTED_FIELDS, ADVICE)
        passed_over = IGNORED_FIELDS | UNSUPPORTED_FIELDS.keys()
        wire = self._reader.read({name: value for name, value in fields.items() if name not in passed_over})
        check_together(wire)
        request = to_request(wire)
        check_request(request)
        include_usage = wire.stream_options is not None and wire.stream_options.include_usage is True
        return ParsedCall(
            request=request,
            rendering=partial(CompletionRendering, shown=to_shown(wire), include_usage=include_usage),
            stream=wire.stream is True,
            priority=to_priority(wire),
        )


def check_together(wire: CompletionBody) -> None:
    """Refuse fields that do not go together.

    Raises:
        HeadraceError: `invalid_request` or `unsupported_parameter`, naming the field.
    """
    if wire.stream:
        _check_stream(wire)
    elif wire.stream_options is not None:
        raise only_with("stream_options", "stream")


def _check_stream(wire: CompletionBody) -> None:
    if wire.stream_options is not None and wire.stream_options.continuous_usage_stats:
        raise unsupported("stream_options.continuous_usage_stats")
    if wire.prompt_logprobs is not None:
        raise unsupported("prompt_logprobs", advice=" in a stream; use 'echo' with 'logprobs'")
    if wire.best_of is not None and wire.best_of > (wire.n or 1) and not wire.use_beam_search:
        raise unsupported("best_of", advice=" in a stream: which are the best is known at the end only")
