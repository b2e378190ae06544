"""What the types of a request can't say is refused with the name of the field."""

from typing import Any

import pytest

from headrace.schema.checks import check_request
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.formats import JsonObjectFormat
from headrace.schema.messages import (
    MAX_IMAGES,
    MAX_MESSAGES,
    MAX_PARTS,
    ImagePart,
    Message,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from headrace.schema.request import (
    MAX_SEQUENCES,
    BeamSearchParams,
    ChatCompletionRequest,
    EmbeddingParams,
    GenerationParameters,
    OutputFlags,
)
from headrace.schema.tools import Tool, ToolChoice

HELLO = (Message("user", "Hello"),)
LOOK = Tool(name="look")
HEAR = Tool(name="hear")
IMAGE = ImagePart(url="https://host/a.png")
CALL = ToolCallPart(id="call_1", name="look", arguments="{}")
RESULT = ToolResultPart(tool_call_id="call_1", content="a tree")


def make(**fields: Any) -> ChatCompletionRequest:
    if "prompts" not in fields:
        fields.setdefault("messages", HELLO)
    return ChatCompletionRequest(model="m", **fields)


def sampled(**parameters: Any) -> ChatCompletionRequest:
    return make(generation_parameters=GenerationParameters(**parameters))


def said(role: Any, content: str | tuple[Part, ...]) -> ChatCompletionRequest:
    return make(messages=(*HELLO, Message(role, content)))


ACCEPTED = {
    "text": make(),
    "a redacted thought": said("assistant", (ReasoningPart("", "ZW5j", "anthropic", is_redacted=True), TextPart("So"))),
    "an image": said("user", (TextPart("What is this?"), IMAGE)),
    "only an image": make(messages=(Message("user", (IMAGE,)),)),
    "an empty answer of before": said("assistant", ""),
    "a call and its result": make(
        messages=(*HELLO, Message("assistant", (ReasoningPart("Hm."), CALL)), Message("tool", (RESULT,)))
    ),
    "prompts": make(prompts=("a", (1, 2))),
    "embeddings": make(prompts=("a",) * 2048, embedding=EmbeddingParams()),
    "as many sequences as there may be": sampled(n=MAX_SEQUENCES),
    "more to choose from": sampled(n=2, best_of=4),
    "beams": sampled(n=2, beam_search=BeamSearchParams(width=2)),
    "least and most tokens": sampled(min_tokens=3, max_tokens=3),
    "one tool of two": make(tools=(LOOK, HEAR), tool_choice=ToolChoice(mode="required", names=("hear",))),
    "a format and tools": make(tools=(LOOK,), response_format=JsonObjectFormat()),
    "log probabilities": make(output=OutputFlags(logprobs=True, top_logprobs=2, prompt=True, prompt_logprobs=0)),
}

REFUSED: dict[str, tuple[ChatCompletionRequest, str]] = {
    "no messages": (make(messages=()), "messages"),
    "no text": (make(messages=(Message("user", ""), Message("user", (TextPart(""),)))), "messages"),
    "messages and prompts": (make(messages=HELLO, prompts=("a",)), "prompts"),
    "an empty prompt": (make(prompts=("a", "")), "prompts[1]"),
    "a prompt without tokens": (make(prompts=((),)), "prompts[0]"),
    "an embedding of messages": (make(messages=HELLO, embedding=EmbeddingParams()), "prompts"),
    "an embedding of nothing": (make(messages=(), embedding=EmbeddingParams()), "prompts"),
    "an embedding of an empty text": (make(prompts=("",), embedding=EmbeddingParams()), "prompts[0]"),
    "an image that the system sends": (said("system", (TextPart("x"), IMAGE)), "messages[1].content[1]"),
    "a redacted thought without its content": (
        said("assistant", (TextPart("a"), ReasoningPart("", is_redacted=True))),
        "messages[1].content[1]",
    ),
    "a redacted thought in plain": (
        said("assistant", (ReasoningPart("Hm", "s", "anthropic", is_redacted=True),)),
        "messages[1].content[0]",
    ),
    "a call that the user makes": (said("user", (CALL,)), "messages[1].content[0]"),
    "a result that the assistant has": (said("assistant", (RESULT,)), "messages[1].content[0]"),
    "a thought of the user": (said("user", (ReasoningPart("Hm."),)), "messages[1].content[0]"),
    "a tool that only talks": (said("tool", "a tree"), "messages[1].content"),
    "a tool that talks beside its result": (said("tool", (RESULT, TextPart("x"))), "messages[1].content[1]"),
    "two tools of one name": (make(tools=(LOOK, HEAR, LOOK)), "tools[2].name"),
    "a required call of no tool": (make(tool_choice=ToolChoice(mode="required")), "tool_choice"),
    "an unknown tool": (make(tools=(LOOK,), tool_choice=ToolChoice(names=("look", "hear"))), "tool_choice.names[1]"),
    "a required call in a format": (
        make(tools=(LOOK,), tool_choice=ToolChoice(mode="required"), response_format=JsonObjectFormat()),
        "response_format",
    ),
    "too many sequences of several prompts": (
        make(prompts=("a", "b"), generation_parameters=GenerationParameters(n=MAX_SEQUENCES)),
        "prompts",
    ),
    "fewer candidates than answers": (sampled(n=3, best_of=2), "generation_parameters.best_of"),
    "the least above the most": (sampled(min_tokens=4, max_tokens=3), "generation_parameters.min_tokens"),
    "fewer beams than answers": (
        sampled(n=3, beam_search=BeamSearchParams(width=2)),
        "generation_parameters.beam_search.width",
    ),
    "beams and candidates": (
        sampled(best_of=2, beam_search=BeamSearchParams(width=2)),
        "generation_parameters.best_of",
    ),
    "alternatives without log probabilities": (make(output=OutputFlags(top_logprobs=1)), "output.top_logprobs"),
    "log probabilities of no prompt": (make(output=OutputFlags(prompt_logprobs=1)), "output.prompt_logprobs"),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_goes_together_is_accepted(name: str) -> None:
    check_request(ACCEPTED[name])


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_is_refused_by_the_name_of_its_field(name: str) -> None:
    request, param = REFUSED[name]
    with pytest.raises(HeadraceError) as caught:
        check_request(request)
    assert (caught.value.code, caught.value.param) == (ErrorCode.INVALID_REQUEST, param)
    assert "Hello" not in caught.value.message


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ((Message(role="user", content="x"),) * (MAX_MESSAGES + 1), "messages"),
        ((Message(role="user", content=(TextPart("x"),) * (MAX_PARTS + 1)),), "messages[0].content"),
        ((Message(role="user", content=(ImagePart(url="data:image/png;base64,"),) * (MAX_IMAGES + 1)),), "messages"),
    ],
    ids=["messages", "parts", "images"],
)
def test_a_request_has_a_size(messages: tuple[Message, ...], param: str) -> None:
    with pytest.raises(HeadraceError) as caught:
        check_request(ChatCompletionRequest(model="m", messages=messages))
    assert caught.value.param == param
