"""What the types of a request can't say: which of its fields go together.

The fields are named by their native paths; a dialect that has other words for them checks before, or maps the name.
"""

from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.formats import TextFormat
from headrace.schema.messages import (
    MAX_IMAGES,
    MAX_MESSAGES,
    MAX_PARTS,
    ImagePart,
    Message,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from headrace.schema.request import MAX_SEQUENCES, ChatCompletionRequest

_PARTS_OF_ROLE: dict[str, tuple[type, ...]] = {
    "system": (),
    "user": (ImagePart,),
    "assistant": (ReasoningPart, ToolCallPart),
    "tool": (ToolResultPart,),
}


def check_request(request: ChatCompletionRequest) -> None:
    """Check what types alone can't say.

    Raises:
        HeadraceError: `invalid_request`, naming the field.
    """
    if request.embedding is not None:
        _check_embedding(request)
        return
    _check_size(request)
    _check_prompt(request)
    _check_tools(request)
    _check_parameters(request)


def _refuse(message: str, param: str) -> HeadraceError:
    return HeadraceError(ErrorCode.INVALID_REQUEST, message, param=param)


def _check_embedding(request: ChatCompletionRequest) -> None:
    if request.messages or not request.prompts:
        raise _refuse("an embedding needs prompts and takes no messages", "prompts")
    _check_empty_prompts(request)


def _check_empty_prompts(request: ChatCompletionRequest) -> None:
    for i, prompt in enumerate(request.prompts):
        if not prompt:
            raise _refuse(f"prompt {i} is empty", f"prompts[{i}]")


def _check_size(request: ChatCompletionRequest) -> None:
    """Keep what one request may ask of templates and engines within what anybody needs."""
    if len(request.messages) > MAX_MESSAGES:
        raise _refuse(f"a request may have at most {MAX_MESSAGES} messages", "messages")
    images = 0
    for i, message in enumerate(request.messages):
        if isinstance(message.content, str):
            continue
        if len(message.content) > MAX_PARTS:
            raise _refuse(f"a message may have at most {MAX_PARTS} parts", f"messages[{i}].content")
        images += sum(isinstance(part, ImagePart) for part in message.content)
    if images > MAX_IMAGES:
        raise _refuse(f"a request may have at most {MAX_IMAGES} images", "messages")


def _check_prompt(request: ChatCompletionRequest) -> None:
    if request.prompts:
        if request.messages:
            raise _refuse("a request has either messages or prompts, not both", "prompts")
        _check_empty_prompts(request)
        return
    if all(isinstance(part, TextPart) and not part.text for message in request.messages for part in message.parts):
        raise _refuse("at least one message must have text", "messages")
    for i, message in enumerate(request.messages):
        _check_roles(message, f"messages[{i}]")


def _check_roles(message: Message, path: str) -> None:
    if isinstance(message.content, str):
        if message.role == "tool":
            raise _refuse(f"{path}: a message of role tool must hold tool_result parts", f"{path}.content")
        return
    allowed = _PARTS_OF_ROLE[message.role]
    for j, part in enumerate(message.content):
        kind = part.__struct_config__.tag
        if kind != "text" and not isinstance(part, allowed):
            message_text = f"{path}.content[{j}]: a message of role {message.role} can't hold a {kind} part"
            raise _refuse(message_text, f"{path}.content[{j}]")
        if kind == "text" and message.role == "tool":
            raise _refuse(f"{path}: a message of role tool must hold tool_result parts", f"{path}.content[{j}]")
        if isinstance(part, ReasoningPart) and part.is_redacted and (part.text or not part.signature):
            message_text = f"{path}.content[{j}]: a redacted thought has a signature and no text"
            raise _refuse(message_text, f"{path}.content[{j}]")


def _check_tools(request: ChatCompletionRequest) -> None:
    names: set[str] = set()
    for i, tool in enumerate(request.tools):
        if tool.name in names:
            raise _refuse(f"there are two tools of the name {tool.name!r}", f"tools[{i}].name")
        names.add(tool.name)
    choice = request.tool_choice
    if choice.mode == "required" and not names:
        raise _refuse("a tool call is required, and there are no tools", "tool_choice")
    for i, name in enumerate(choice.names):
        if name not in names:
            raise _refuse(f"there is no tool of the name {name!r}", f"tool_choice.names[{i}]")
    if names and choice.mode == "required" and not isinstance(request.response_format, TextFormat):
        raise _refuse("an answer can't have a response format and be a required tool call", "response_format")


def _check_parameters(request: ChatCompletionRequest) -> None:
    parameters, output = request.generation_parameters, request.output
    total = max(1, len(request.prompts)) * max(parameters.n, parameters.best_of or 0)
    if total > MAX_SEQUENCES:
        param = "prompts" if len(request.prompts) > 1 else "generation_parameters.n"
        raise _refuse(f"the request asks for {total} sequences; at most {MAX_SEQUENCES} are allowed", param)
    if parameters.best_of is not None and parameters.best_of < parameters.n:
        raise _refuse("best_of must be at least n", "generation_parameters.best_of")
    if (
        parameters.min_tokens is not None
        and parameters.max_tokens is not None
        and parameters.min_tokens > parameters.max_tokens
    ):
        raise _refuse("min_tokens must not be above max_tokens", "generation_parameters.min_tokens")
    if (beams := parameters.beam_search) is not None:
        if beams.width < parameters.n:
            raise _refuse("the width must be at least n", "generation_parameters.beam_search.width")
        if parameters.best_of is not None:
            raise _refuse("best_of does not go with beam_search", "generation_parameters.best_of")
    if output.top_logprobs and not output.logprobs:
        raise _refuse("top_logprobs needs logprobs", "output.top_logprobs")
    if output.prompt_logprobs is not None and not output.prompt:
        raise _refuse("prompt_logprobs needs prompt", "output.prompt_logprobs")
