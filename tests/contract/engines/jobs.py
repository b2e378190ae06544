"""Jobs for engines, and what every stream of events must look like."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from headrace.gateway.answer import AnswerFold
from headrace.schema.events import (
    Event,
    GenerationFinished,
    GenerationStarted,
    PromptEchoed,
    PromptEmbedded,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    Usage,
)
from headrace.schema.messages import Message
from headrace.schema.request import ChatCompletionRequest, GenerationParameters, OutputFlags
from headrace.worker.engines.base import Engine, EngineJob

WORKER = "worker-1"


def make_job(
    request_id: str, *, text: str = "Tell me about water", priority: int = 5, token_ids: bool = False, **parameters: Any
) -> EngineJob:
    return EngineJob(
        request_id=request_id,
        worker_id=WORKER,
        priority=priority,
        request=ChatCompletionRequest(
            model="test",
            messages=(Message("user", text),),
            generation_parameters=GenerationParameters(**parameters),
            output=OutputFlags(token_ids=token_ids),
        ),
    )


def make_whole_job(request_id: str, *, priority: int = 5, **fields: Any) -> EngineJob:
    """Return a job with any fields of the request; without messages or prompts it asks about water."""
    if "prompts" not in fields:
        fields.setdefault("messages", (Message("user", "Tell me about water"),))
    request = ChatCompletionRequest(model="test", **fields)
    return EngineJob(request_id=request_id, worker_id=WORKER, priority=priority, request=request)


class Answer:
    """All that a job gave, checked for order as it was read.

    `fold` has the rest of what was said, as the gateway sees it.
    """

    def __init__(self) -> None:
        self.steps: list[list[Event]] = []
        self.texts: dict[int, str] = {}
        self.token_ids: dict[int, list[int]] = {}
        self.finished: dict[int, SequenceFinished] = {}
        self.fold = AnswerFold()
        self.told_prompts: set[int] = set()
        self.input_tokens = 0
        self.usage: Usage | None = None

    @property
    def text(self) -> str:
        assert len(self.texts) == 1
        return self.texts[0]

    def add(self, step: list[Event]) -> None:
        assert step, "an empty step"
        self.steps.append(step)
        self.fold.add(step)
        for event in step:
            assert self.usage is None, "an event after the terminal one"
            self._add_event(event)

    def _add_event(self, event: Event) -> None:
        match event:
            case GenerationStarted(worker_id, input_tokens):
                assert self.steps == [[event]], "it starts once, first and alone"
                assert worker_id == WORKER
                self.input_tokens = input_tokens
            case SequenceStarted(index):
                assert index not in self.texts, "a sequence started twice"
                self.texts[index], self.token_ids[index] = "", []
            case SequenceDelta(index, text, token_ids):
                assert index in self.texts, "a delta before its sequence"
                assert index not in self.finished, "a delta after the end of its sequence"
                assert text or token_ids or event.logprobs or event.reasoning or event.tool_calls, "a delta of nothing"
                self.texts[index] += text
                self.token_ids[index] += token_ids or ()
            case SequenceFinished(index):
                assert index in self.texts
                assert index not in self.finished, "a sequence finished twice"
                self.finished[index] = event
            case GenerationFinished(usage):
                assert self.finished.keys() == self.texts.keys(), "the generation ended before its sequences"
                self.usage = usage
            case PromptEchoed(index) | PromptEmbedded(index):
                assert index not in self.told_prompts, "a prompt twice"
                self.told_prompts.add(index)
            case _:
                raise AssertionError(f"an engine gave {event}")


async def read(engine: Engine, job: EngineJob) -> Answer:
    """Run a job to its end."""
    answer = Answer()
    async with aclosing(engine.generate(job)) as steps:
        async for step in steps:
            answer.add(step)
    assert answer.usage is not None, "a stream just stopped"
    return answer


async def begin(engine: Engine, job: EngineJob) -> AsyncGenerator[list[Event], None]:
    """Start a job and read until its first token."""
    steps = engine.generate(job)
    answer = Answer()
    while not answer.texts:
        answer.add(await anext(steps))
    return steps
