"""The official client adds a stream up to the whole answer, however the stream was cut."""

from collections.abc import Sequence
from itertools import accumulate, groupby
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from headrace.gateway.answer import AnswerFold
from headrace.gateway.dialects.openai.chat.stream import DONE, OpenAIRendering
from headrace.scheduler.base import Submission
from headrace.schema.events import (
    Event,
    GenerationFinished,
    GenerationStarted,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    Signature,
    TokenLogprob,
    ToolCallDelta,
)
from headrace.schema.messages import Message
from headrace.schema.request import ChatCompletionRequest, OutputFlags
from tests.unit.gateway.doubles import USAGE

TEXT = st.text(st.characters(codec="utf-8"), max_size=6)
LOGPROB = st.builds(
    TokenLogprob,
    token_id=st.integers(0, 9),
    text=TEXT,
    logprob=st.floats(-9, 0),
    raw=st.none() | st.binary(max_size=3),
    top=st.lists(st.builds(TokenLogprob, token_id=st.integers(0, 9), text=TEXT, logprob=st.just(-1.0)), max_size=2).map(
        tuple
    ),
)
SIGNATURE = st.none() | st.builds(
    Signature, st.sampled_from(["c2lnbmVk", "b3RoZXI="]), st.sampled_from(["anthropic", "gemini"]), st.booleans()
)
OUTPUT = st.builds(OutputFlags, reasoning=st.booleans(), logprobs=st.booleans(), token_ids=st.booleans())


@st.composite
def deltas_of(draw: st.DrawFn, index: int) -> list[Event]:
    """One sequence: it thinks, then speaks, then calls; each of them may be nothing."""
    thoughts, texts = draw(st.lists(TEXT, max_size=3)), draw(st.lists(TEXT, max_size=3))
    deltas = [SequenceDelta(index, "", reasoning=text, thought_signature=draw(SIGNATURE)) for text in thoughts]
    deltas += [SequenceDelta(index, text, text_signature=draw(SIGNATURE)) for text in texts]
    calls = [draw(st.lists(TEXT, max_size=3)) for _ in range(draw(st.integers(0, 2)))]
    for number, pieces in enumerate(calls):
        begins = ToolCallDelta(number, draw(TEXT), id=f"call_{number}", name="f", signature=draw(SIGNATURE))
        deltas += [SequenceDelta(index, "", tool_calls=(begins,))]
        deltas += [SequenceDelta(index, "", tool_calls=(ToolCallDelta(number, piece),)) for piece in pieces]
    logprobs = [tuple(draw(st.lists(LOGPROB, max_size=2))) for _ in deltas]
    told = [
        structs.replace(d, token_ids=tuple(p.token_id for p in probs), logprobs=probs)
        for d, probs in zip(deltas, logprobs, strict=True)
    ]
    return [SequenceStarted(index), *told, SequenceFinished(index, "tool_calls" if calls else "stop")]


@st.composite
def batches(draw: st.DrawFn) -> list[list[Event]]:
    """A good stream of one or two sequences, interleaved and cut anywhere."""
    sequences = [draw(deltas_of(index)) for index in range(draw(st.integers(1, 2)))]
    order = draw(st.permutations([i for i, events in enumerate(sequences) for _ in events]))
    queues = [iter(events) for events in sequences]
    events: list[Event] = [GenerationStarted("w", 5), *(next(queues[i]) for i in order), GenerationFinished(USAGE)]
    cuts = accumulate(draw(st.lists(st.booleans(), min_size=len(events), max_size=len(events))))
    pairs = zip(cuts, events, strict=True)
    return [[event for _, event in group] for _, group in groupby(pairs, lambda pair: pair[0])]


def make(output: OutputFlags) -> OpenAIRendering:
    request = ChatCompletionRequest(model="m", messages=(Message("user", "Hi"),), output=output)
    return OpenAIRendering(Submission(request_id="gen_1", request=request), include_usage=True)


def read_stream(frames: bytes) -> list[dict[str, Any]]:
    assert frames.endswith(DONE)
    lines = frames.removesuffix(DONE).decode().split("\n\n")
    return [msgspec.json.decode(line.removeprefix("data: ")) for line in lines if line]


def plain(answer: ChatCompletion) -> dict[str, Any]:
    """An answer as both ways tell it.

    The accumulator keeps the places of calls and thoughts, knows nothing of vLLM's token ids, and can't tell an empty
    text from none.
    """
    found = answer.model_dump(exclude_none=True, exclude={"created"})
    for choice in found["choices"]:
        message = choice["message"]
        message["content"] = message.get("content") or ""
        for item in (*message.get("tool_calls", ()), *message.get("thinking_blocks", ())):
            item.pop("index", None)
        for call in message.get("tool_calls", ()):
            call["function"].pop("parsed_arguments", None)
        for name in ("reasoning", "reasoning_content"):
            message[name] = message.get(name, "")
        choice["logprobs"] = choice.get("logprobs", {}).get("content", [])
        choice.pop("token_ids", None)
    return found


@given(batches(), OUTPUT)
def test_the_official_client_adds_a_stream_up_to_the_whole_answer(
    stream: Sequence[Sequence[Event]], output: OutputFlags
) -> None:
    rendering, fold = make(output), AnswerFold()
    chunks = read_stream(b"".join(rendering.render_events(batch) for batch in stream))
    state = ChatCompletionStreamState()
    for chunk in chunks:
        state.handle_chunk(ChatCompletionChunk.model_validate(chunk, strict=True))
    for batch in stream:
        fold.add(batch)
    whole = ChatCompletion.model_validate(msgspec.json.decode(rendering.render_answer(fold.answer())), strict=True)
    streamed = ChatCompletion.model_validate(state.get_final_completion().model_dump())
    assert plain(streamed) == plain(whole)


@given(batches(), OUTPUT)
def test_the_batches_make_no_difference(stream: Sequence[Sequence[Event]], output: OutputFlags) -> None:
    split, joined = make(output), make(output)
    apart = read_stream(b"".join(split.render_events(batch) for batch in stream))
    at_once = read_stream(joined.render_events([event for batch in stream for event in batch]))
    assert [chunk | {"created": 0} for chunk in apart] == [chunk | {"created": 0} for chunk in at_once]


@given(batches(), OUTPUT)
def test_each_choice_begins_with_its_role_and_ends_with_its_reason(
    stream: Sequence[Sequence[Event]], output: OutputFlags
) -> None:
    rendering = make(output)
    *chunks, last = read_stream(b"".join(rendering.render_events(batch) for batch in stream))
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 12)
    by_choice: dict[int, list[dict[str, Any]]] = {}
    for chunk in chunks:
        (choice,) = chunk["choices"]
        assert chunk["usage"] is None
        by_choice.setdefault(choice["index"], []).append(choice)
    for choices in by_choice.values():
        assert [("role" in choice["delta"]) for choice in choices] == [True] + [False] * (len(choices) - 1)
        assert [choice["finish_reason"] is None for choice in choices] == [True] * (len(choices) - 1) + [False]
        assert choices[-1]["delta"] == {}
