"""The values behind the golden files of version 2: between them, every field of every Struct on the wire is set."""

import struct

from msgspec import structs

from headrace.schema.control import (
    AdoptGeneration,
    AttemptGranted,
    AttemptRefused,
    CancelGeneration,
    ConfirmAttempt,
    ControlMessage,
    ResendReplies,
    ToldSequence,
)
from headrace.schema.dead_letter import LostAttempt
from headrace.schema.events import (
    AttemptQuery,
    AttemptRunning,
    GenerationFailed,
    GenerationFinished,
    GenerationQueued,
    GenerationStarted,
    PromptEchoed,
    PromptEmbedded,
    ReplyItem,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    Signature,
    StoredChunk,
    StreamChunk,
    Timings,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from headrace.schema.formats import (
    ChoiceFormat,
    GrammarFormat,
    JsonObjectFormat,
    JsonSchemaFormat,
    RegexFormat,
    ResponseFormat,
)
from headrace.schema.last_word import LastWord
from headrace.schema.messages import ImagePart, Message, ReasoningPart, TextPart, ToolCallPart, ToolResultPart
from headrace.schema.payload import PayloadRef
from headrace.schema.request import (
    BeamSearchParams,
    ChatCompletionRequest,
    EmbeddingParams,
    GenerationParameters,
    OutputFlags,
)
from headrace.schema.task import GenerationTask
from headrace.schema.tools import Tool, ToolChoice

_WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def _task(request: ChatCompletionRequest) -> GenerationTask:
    return GenerationTask(
        request_id="gen_2",
        reply_address="headrace.reply.a.1",
        submitted_at=1700000000.5,
        deadline=1700000600.5,
        priority=7,
        deployment="smollm2-135m-instruct",
        request=request,
    )


def _formatted(response_format: ResponseFormat) -> GenerationTask:
    request = ChatCompletionRequest(
        model="pirate", messages=(Message("user", "Answer."),), response_format=response_format
    )
    return _task(request)


_CHAT = ChatCompletionRequest(
    model="pirate",
    messages=(
        Message("system", "Be brief."),
        Message(
            "user", (TextPart("Grüße, "), ImagePart(url="data:image/png;base64,iVBORw0KGgo=", detail="low")), name="ann"
        ),
        Message(
            "assistant",
            (
                ReasoningPart("They ask about the weather.", "c2lnbmVk", "anthropic"),
                ReasoningPart("", "ZW5jcnlwdGVk", "anthropic", is_redacted=True),
                TextPart("Let me look. 🌍", "dGV4dA==", "gemini"),
                ToolCallPart(
                    id="call_1",
                    name="get_weather",
                    arguments='{"city":"Bonn"}',
                    signature="Y2FsbA==",
                    signed_by="gemini",
                ),
                ToolCallPart(id="call_2", name="get_time", arguments="{}"),
            ),
        ),
        Message(
            "tool",
            (
                ToolResultPart(tool_call_id="call_1", content="rain"),
                ToolResultPart(
                    tool_call_id="call_2",
                    content=(TextPart("no clock"), ImagePart(url="https://host/clock.png")),
                    is_error=True,
                ),
            ),
        ),
    ),
    generation_parameters=GenerationParameters(
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        min_p=0.05,
        max_tokens=64,
        min_tokens=2,
        ignore_eos=True,
        n=2,
        best_of=3,
        stop=("\n\n", "END"),
        seed=-7,
        presence_penalty=0.1,
        frequency_penalty=-0.1,
        repetition_penalty=1.1,
        logit_bias={0: -100.0, 70000: 1.5},
        provider_extensions={"scripted": {"tokens": 3}},
    ),
    output=OutputFlags(
        token_ids=True,
        usage=True,
        timings=True,
        reasoning=True,
        logprobs=True,
        top_logprobs=2,
        prompt=True,
        prompt_logprobs=0,
        queue_position=True,
        signatures=True,
    ),
    tools=(
        Tool(name="get_weather", description="The weather of a city.", parameters=_WEATHER, strict=True),
        Tool(name="get_time"),
    ),
    tool_choice=ToolChoice(mode="required", names=("get_weather",), parallel=False),
)
_PROMPTS = ChatCompletionRequest(
    model="pirate",
    prompts=("Once upon a", (1, 70000)),
    generation_parameters=GenerationParameters(
        max_tokens=8, beam_search=BeamSearchParams(width=4, length_penalty=0.5, early_stopping="never")
    ),
)

TASKS: dict[str, GenerationTask] = {
    "chat": _task(_CHAT),
    "prompts": _task(_PROMPTS),
    "embedding": _task(
        ChatCompletionRequest(model="embedder", prompts=("Bonn", (5,)), embedding=EmbeddingParams(dimensions=256))
    ),
    "count": _task(ChatCompletionRequest(model="pirate", messages=(Message("user", "How many?"),), count_only=True)),
    "json-object": _formatted(JsonObjectFormat()),
    "json-schema": _formatted(JsonSchemaFormat(schema=_WEATHER, name="weather", description="Of one city.")),
    "regex": _formatted(RegexFormat(r"\d{4}-\d\d")),
    "choice": _formatted(ChoiceFormat(("yes", "no"))),
    "grammar": _formatted(GrammarFormat('root ::= "yes" | "no"')),
    "payload": structs.replace(
        _task(ChatCompletionRequest(model="pirate")),
        is_repeat=True,
        payload=PayloadRef(key="tasks/gen_2", size_bytes=200_000, sha256="0f" * 32),
        lane="batch",
        tenant="acme",
        retained=True,
        ask_after=1700000028.5,
        copy=2,
    ),
}

_LOGPROBS = (TokenLogprob(5, "H", -0.25, b"H", (TokenLogprob(5, "H", -0.25, b"H"), TokenLogprob(6, "J", -9999.0))),)

REPLIES: list[ReplyItem] = [
    StreamChunk(
        "gen_2",
        2,
        40,
        (
            GenerationQueued(3, 1.5),
            GenerationStarted("node-1-abc", 12),
            PromptEchoed(1, "Hi", (1, 5), (None, TokenLogprob(5, "Hi", -1.5))),
            PromptEmbedded(1, struct.pack("<3f", 0.5, -0.25, 1.0)),
            SequenceStarted(1),
            SequenceDelta(
                1,
                "Hé",
                (5, 70000),
                _LOGPROBS,
                "They ask.",
                (
                    ToolCallDelta(0, '{"city":', "call_1", "get_weather", Signature("Y2FsbA==", "gemini")),
                    ToolCallDelta(1, "{}"),
                ),
                Signature("ZW5jcnlwdGVk", "anthropic", is_redacted=True),
                Signature("dGV4dA==", "gemini"),
            ),
            SequenceDelta(0, "plain"),
            SequenceFinished(1, "stop", "END"),
            SequenceFinished(0, "tool_calls"),
            GenerationFinished(Usage(12, 34, 8, 5), Timings(0.1, 0.2, 0.3)),
            GenerationFailed("worker_lost", "lost", "decode", True, Usage(12, 3, 1, 2), "messages"),
        ),
    ),
    StreamChunk("gen_2", 1, 7, (GenerationStarted("node-1-abc"), SequenceDelta(0, "told again", (5,))), retells=True),
    AttemptQuery("gen_2", "node-2-def", 2),
    AttemptRunning("gen_2", 1, "node-1-abc", is_returned=True),
    StoredChunk("gen_2", 1, PayloadRef(key="replies/gen_2/1-ab", size_bytes=200_000, sha256="0f" * 32)),
]

LAST_WORD = LastWord("gen_2", 2, "node-1-abc", Usage(12, 34, 8, 5), 1700000600.5, "org/model_1")

CONTROLS: list[ControlMessage] = [
    CancelGeneration("gen_2", 1700000600.5, 1),
    AttemptGranted("gen_2", 2, (ToldSequence(0, (5, 70000)), ToldSequence(1, (7,), is_finished=True))),
    AttemptRefused(
        "gen_2", "3 workers were lost", (LostAttempt(1, "node-1-abc", 1700000001.5, "its worker was gone"),)
    ),
    ResendReplies("gen_2", 2),
    ConfirmAttempt("gen_2", 1),
    AdoptGeneration("gen_2", "gateway-2", 1700000600.5),
]
