"""The values behind the golden files of version 1, one of each kind of message with every field of that version set."""

from headrace.schema.control import AttemptGranted, AttemptRefused, CancelGeneration, ControlMessage
from headrace.schema.events import (
    AttemptQuery,
    GenerationFailed,
    GenerationFinished,
    GenerationQueued,
    GenerationStarted,
    ReplyItem,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    StreamChunk,
    Timings,
    Usage,
)
from headrace.schema.messages import Message, TextPart
from headrace.schema.request import ChatCompletionRequest, GenerationParameters, OutputFlags
from headrace.schema.task import GenerationTask

TASK = GenerationTask(
    request_id="gen_1",
    reply_address="headrace.reply.a.1",
    submitted_at=1700000000.5,
    deadline=1700000600.5,
    priority=7,
    request=ChatCompletionRequest(
        model="smollm2-135m-instruct",
        messages=(
            Message("system", "Be brief."),
            Message("user", (TextPart("Grüße, "), TextPart("🌍")), name="ann"),
        ),
        generation_parameters=GenerationParameters(
            temperature=0.5,
            top_p=0.9,
            top_k=40,
            min_p=0.05,
            max_tokens=64,
            n=2,
            stop=("\n\n", "END"),
            seed=-7,
            presence_penalty=0.1,
            frequency_penalty=-0.1,
            repetition_penalty=1.1,
            provider_extensions={"scripted": {"tokens": 3}},
        ),
        output=OutputFlags(token_ids=True, usage=True, timings=True),
    ),
)

REPLIES: list[ReplyItem] = [
    StreamChunk(
        "gen_1",
        2,
        40,
        (
            GenerationQueued(3, 1.5),
            GenerationStarted("node-1-abc", 12),
            SequenceStarted(1),
            SequenceDelta(1, "Hé", (5, 70000)),
            SequenceDelta(0, "plain"),
            SequenceFinished(1, "stop", "END"),
            GenerationFinished(Usage(12, 34, 8), Timings(0.1, 0.2, 0.3)),
            GenerationFailed("worker_lost", "lost", "decode", True, Usage(12, 3), "messages"),
        ),
    ),
    AttemptQuery("gen_1", "node-2-def"),
]

CONTROLS: list[ControlMessage] = [
    CancelGeneration("gen_1", 1700000600.5, 1),
    AttemptGranted("gen_1", 2),
    AttemptRefused("gen_1"),
]
