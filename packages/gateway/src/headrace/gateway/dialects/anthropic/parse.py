"""From the bytes of Anthropic's bodies to a request.

Each field is one of four: supported; ignored, since it changes nothing in the answer; known and not supported, which
is fine as long as it asks for nothing; or unknown. The last two are refused by name.
"""

from functools import partial
from typing import Any

from msgspec import structs

from headrace.gateway.dialects.anthropic.kinds import refuse_unsupported
from headrace.gateway.dialects.anthropic.messages import refuse_value, to_messages, to_system
from headrace.gateway.dialects.anthropic.render import CountRendering, Thinking
from headrace.gateway.dialects.anthropic.stream import AnthropicRendering
from headrace.gateway.dialects.anthropic.tools import to_tool_choice, to_tools
from headrace.gateway.dialects.anthropic.turns import check_turns, is_continued
from headrace.gateway.dialects.anthropic.wire import (
    IGNORED_FIELDS,
    UNSUPPORTED_FIELDS,
    CountTokensBody,
    JsonOutputFormat,
    MessagesBody,
    ThinkingDisabled,
    ThinkingEnabled,
)
from headrace.gateway.dialects.base import ParsedCall
from headrace.gateway.json_schema import check_json_schema
from headrace.gateway.strict import StrictReader, decode_object
from headrace.schema.checks import check_request
from headrace.schema.formats import JsonSchemaFormat, ResponseFormat, TextFormat
from headrace.schema.request import ChatCompletionRequest, GenerationParameters, OutputFlags

# The chat template leaves the last message open, so that the model goes on with it.
_CONTINUATION: dict[str, Any] = {
    "vllm": {"chat_template_kwargs": {"continue_final_message": True, "add_generation_prompt": False}}
}
_PASSED_OVER = IGNORED_FIELDS | UNSUPPORTED_FIELDS.keys()


class AnthropicParser:
    """Reads bodies of messages and of token counts."""

    def __init__(self) -> None:
        self._messages = StrictReader(MessagesBody)
        self._counts = StrictReader(CountTokensBody)

    def parse(self, body: bytes) -> ParsedCall:
        """Return what the body of a message call asks for.

        Raises:
            HeadraceError: `invalid_request` or `unsupported_parameter`, naming the field.
        """
        wire = self._messages.read(_fields_of(body))
        thinking = _thinking_of(wire)
        parameters = GenerationParameters(
            max_tokens=wire.max_tokens,
            stop=wire.stop_sequences or (),
            temperature=wire.temperature,
            top_k=wire.top_k,
            top_p=wire.top_p,
        )
        request = _to_request(wire, parameters, OutputFlags(usage=True, reasoning=thinking != "none", signatures=True))
        check_request(request)
        rendering = partial(AnthropicRendering, thinking=thinking)
        return ParsedCall(request=request, rendering=rendering, stream=wire.stream is True)

    def parse_count(self, body: bytes) -> ParsedCall:
        """Return what the body of a token count asks for.

        Raises:
            HeadraceError: `invalid_request` or `unsupported_parameter`, naming the field.
        """
        wire = self._counts.read(_fields_of(body))
        request = _to_request(wire, GenerationParameters(), OutputFlags(usage=True), count_only=True)
        check_request(request)
        return ParsedCall(request=request, rendering=CountRendering, stream=False)


def _fields_of(body: bytes) -> dict[str, Any]:
    fields = decode_object(body)
    refuse_unsupported(fields)
    return {name: value for name, value in fields.items() if name not in _PASSED_OVER}


def _to_request(
    wire: CountTokensBody, parameters: GenerationParameters, output: OutputFlags, *, count_only: bool = False
) -> ChatCompletionRequest:
    messages = (*to_system(wire.system), *to_messages(wire.messages))
    check_turns(wire.messages)
    if is_continued(wire.messages):
        parameters = structs.replace(parameters, provider_extensions=_CONTINUATION)
    choice, response_format = to_tool_choice(wire.tool_choice), _to_response_format(wire)
    # The format is that of text, and an answer that must be a call has none.
    is_call = choice.mode == "required"
    return ChatCompletionRequest(
        model=wire.model,
        messages=messages,
        generation_parameters=parameters,
        output=output,
        tools=to_tools(wire.tools or ()),
        tool_choice=choice,
        response_format=TextFormat() if is_call else response_format,
        count_only=count_only,
    )


def _to_response_format(wire: CountTokensBody) -> ResponseFormat:
    new: JsonOutputFormat | None = wire.output_config.format if wire.output_config else None
    if new is not None and wire.output_format is not None:
        raise refuse_value("output_format", "it is the older name of 'output_config.format'; send one of them")
    form, path = (new, "output_config.format") if new is not None else (wire.output_format, "output_format")
    if form is None:
        return TextFormat()
    check_json_schema(form.schema, param=f"{path}.schema")
    return JsonSchemaFormat(schema=form.schema)


def _thinking_of(wire: MessagesBody) -> Thinking:
    thinking = wire.thinking
    if thinking is None or isinstance(thinking, ThinkingDisabled):
        return "none"
    if isinstance(thinking, ThinkingEnabled) and thinking.budget_tokens >= wire.max_tokens:
        raise refuse_value("thinking.budget_tokens", "it must be less than 'max_tokens'")
    return "omitted" if thinking.display == "omitted" else "shown"
