"""From the bytes of OpenAI's body to a request.

Each field is one of four: supported; ignored, since it changes nothing in the answer; known but not supported,
which is fine as long as it asks for nothing; or unknown. The last two are refused by name, because a client that is
silently not given what it asked for finds out too late.
"""

from functools import partial

from headrace.gateway.dialects.base import ParsedCall
from headrace.gateway.dialects.openai.chat.refusing import only_with, unsupported
from headrace.gateway.dialects.openai.chat.request import to_request
from headrace.gateway.dialects.openai.chat.stream import OpenAIRendering
from headrace.gateway.dialects.openai.chat.tools import forces_a_function
from headrace.gateway.dialects.openai.chat.wire import ADVICE, IGNORED_FIELDS, UNSUPPORTED_FIELDS, ChatCompletionBody
from headrace.gateway.dialects.openai.extras import to_priority
from headrace.gateway.dialects.openai.fields import refuse_unsupported
from headrace.gateway.dialects.openai.tiers import to_lane
from headrace.gateway.strict import StrictReader, decode_object
from headrace.schema.checks import check_request


class OpenAIParser:
    """Reads bodies of chat completions."""

    def __init__(self) -> None:
        self._reader = StrictReader(ChatCompletionBody)

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
            rendering=partial(
                OpenAIRendering, include_usage=include_usage, forced_function=forces_a_function(wire.tool_choice)
            ),
            stream=wire.stream is True,
            priority=to_priority(wire),
            lane=to_lane(wire.service_tier),
        )


def check_together(wire: ChatCompletionBody) -> None:
    """Refuse fields that say nothing without another.

    Raises:
        HeadraceError: `invalid_request` or `unsupported_parameter`, naming the field.
    """
    if wire.stream_options is not None:
        if not wire.stream:
            raise only_with("stream_options", "stream")
        if wire.stream_options.continuous_usage_stats:
            raise unsupported("stream_options.continuous_usage_stats")
    if wire.top_logprobs and not wire.logprobs:
        raise only_with("top_logprobs", "logprobs")
    if wire.tools is None:
        for name in ("tool_choice", "parallel_tool_calls"):
            if getattr(wire, name) is not None:
                raise only_with(name, "tools")
    if wire.prompt_logprobs is not None and wire.stream:
        raise unsupported("prompt_logprobs", advice=" in a stream")
