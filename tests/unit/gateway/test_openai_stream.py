"""The frames of a chat completion that have more than text, byte for byte, and its whole answers."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from headrace.gateway.answer import AnswerFold
from headrace.gateway.dialects.openai.chat.stream import OpenAIRendering
from headrace.scheduler.base import Submission
from headrace.schema.events import (
    Event,
    GenerationFinished,
    PromptEchoed,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    TokenLogprob,
    ToolCallDelta,
)
from headrace.schema.messages import Message
from headrace.schema.request import ChatCompletionRequest, OutputFlags
from tests.unit.gateway.doubles import USAGE

START, FINISHED = SequenceStarted(0), GenerationFinished(USAGE)
CALLS_END: tuple[Event, ...] = (SequenceFinished(0, "tool_calls"), FINISHED)
STOP_END: tuple[Event, ...] = (SequenceFinished(0, "stop"), FINISHED)
ROLE = '{"index":0,"delta":{"role":"assistant","content":%s},"logprobs":null,"finish_reason":null}'
END = '{"index":0,"delta":{},"logprobs":null,"finish_reason":"%s"}'
FIRST_CALL = SequenceDelta(0, "", tool_calls=(ToolCallDelta(0, '{"a', id="call_1", name="f"), ToolCallDelta(0, '":1}')))
TOKEN = TokenLogprob(5, "é", -0.5, raw="é".encode(), top=(TokenLogprob(6, "e", -0.1), TokenLogprob(5, "é", -0.5)))


def make(output: OutputFlags | None = None, *, forced_function: bool = False) -> OpenAIRendering:
    request = ChatCompletionRequest(model="m", messages=(Message("user", "Hi"),), output=output or OutputFlags())
    submission = Submission(request_id="gen_1", request=request)
    return OpenAIRendering(submission, include_usage=False, forced_function=forced_function)


def choices_of(rendering: OpenAIRendering, *events: Event) -> list[str]:
    """The one choice of each frame, as it was written."""
    text = rendering.render_events(events).decode()
    assert text.endswith("data: [DONE]\n\n")
    return re.findall(r'"choices":\[(.*)\]\}\n', text)


def delta(body: str) -> str:
    return f'{{"index":0,"delta":{body},"logprobs":null,"finish_reason":null}}'


def whole(rendering: OpenAIRendering, events: Sequence[Event]) -> dict[str, Any]:
    fold = AnswerFold()
    fold.add(events)
    return msgspec.json.decode(rendering.render_answer(fold.answer()))


def test_frames_of_tool_calls() -> None:
    second = SequenceDelta(0, "", tool_calls=(ToolCallDelta(1, id="call_2", name="g"), ToolCallDelta(1, "{}")))
    first_piece = '{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":""}}'
    second_piece = '{"index":1,"id":"call_2","type":"function","function":{"name":"g","arguments":""}}'
    assert choices_of(make(), START, FIRST_CALL, second, *CALLS_END) == [
        ROLE % "null",
        delta(f'{{"tool_calls":[{first_piece}]}}'),
        delta('{"tool_calls":[{"index":0,"function":{"arguments":"{\\"a"}}]}'),
        delta('{"tool_calls":[{"index":0,"function":{"arguments":"\\":1}"}}]}'),
        delta(f'{{"tool_calls":[{second_piece}]}}'),
        delta('{"tool_calls":[{"index":1,"function":{"arguments":"{}"}}]}'),
        END % "tool_calls",
    ]


def test_whole_answer_with_tool_calls() -> None:
    (choice,) = whole(make(), [START, FIRST_CALL, *CALLS_END])["choices"]
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    assert choice == {
        "index": 0,
        "message": {"role": "assistant", "content": None, "refusal": None, "tool_calls": [call]},
        "logprobs": None,
        "finish_reason": "tool_calls",
    }


def test_a_function_that_was_forced_by_its_name_ends_with_stop() -> None:
    rendering = make(forced_function=True)
    assert choices_of(rendering, START, FIRST_CALL, *CALLS_END)[-1] == END % "stop"
    assert whole(rendering, [START, FIRST_CALL, *CALLS_END])["choices"][0]["finish_reason"] == "stop"
    cut = (SequenceFinished(0, "length"), FINISHED)
    assert choices_of(make(forced_function=True), START, FIRST_CALL, *cut)[-1] == END % "length"


def test_text_before_tool_calls() -> None:
    both = SequenceDelta(0, "Hm", tool_calls=(ToolCallDelta(0, id="call_1", name="f"),))
    frames = choices_of(make(), START, both, *CALLS_END)
    assert frames[:2] == [ROLE % '""', delta('{"content":"Hm"}')]
    assert len(frames) == 4


def test_reasoning_that_was_asked_for() -> None:
    events = (START, SequenceDelta(0, "", reasoning="Hm"), SequenceDelta(0, "Yes", reasoning="."), *STOP_END)
    output = OutputFlags(reasoning=True)
    assert choices_of(make(output), *events) == [
        ROLE % "null",
        delta('{"reasoning_content":"Hm","reasoning":"Hm"}'),
        delta('{"reasoning_content":".","reasoning":".","content":"Yes"}'),
        END % "stop",
    ]
    message = {"role": "assistant", "content": "Yes", "refusal": None}
    assert whole(make(output), events)["choices"][0]["message"] == message | {
        "reasoning_content": "Hm.",
        "reasoning": "Hm.",
    }


def test_reasoning_that_was_not_asked_for() -> None:
    events = (START, SequenceDelta(0, "", reasoning="Hm"), SequenceDelta(0, "Yes", reasoning="."), *STOP_END)
    assert choices_of(make(), *events) == [ROLE % '""', delta('{"content":"Yes"}'), END % "stop"]
    message = whole(make(), events)["choices"][0]["message"]
    assert message == {"role": "assistant", "content": "Yes", "refusal": None}


def test_no_reasoning_where_it_was_asked_for_is_null() -> None:
    message = whole(make(OutputFlags(reasoning=True)), [START, SequenceDelta(0, "a"), *STOP_END])["choices"][0][
        "message"
    ]
    assert (message["reasoning_content"], message["reasoning"]) == (None, None)


def test_logprobs() -> None:
    output = OutputFlags(logprobs=True, top_logprobs=2)
    events = (START, SequenceDelta(0, "é", logprobs=(TOKEN,)), SequenceDelta(0, "", logprobs=(TOKEN,)), *STOP_END)
    top = '[{"token":"e","logprob":-0.1,"bytes":[101]},{"token":"é","logprob":-0.5,"bytes":[195,169]}]'
    content = f'[{{"token":"é","logprob":-0.5,"bytes":[195,169],"top_logprobs":{top}}}]'
    tail = f'"logprobs":{{"content":{content},"refusal":null}},"finish_reason":null}}'
    assert choices_of(make(output), *events) == [
        ROLE % '""',
        f'{{"index":0,"delta":{{"content":"é"}},{tail}',
        f'{{"index":0,"delta":{{}},{tail}',
        END % "stop",
    ]
    assert whole(make(output), events)["choices"][0]["logprobs"] == {
        "content": msgspec.json.decode(content) * 2,
        "refusal": None,
    }


def test_logprobs_of_a_delta_with_several_frames_are_told_once() -> None:
    delta_of_calls = SequenceDelta(0, "", logprobs=(TOKEN,), tool_calls=FIRST_CALL.tool_calls)
    frames = choices_of(make(OutputFlags(logprobs=True)), START, delta_of_calls, *CALLS_END)
    assert ['"logprobs":null' in frame for frame in frames] == [True, False, True, True, True]


def test_token_ids() -> None:
    output = OutputFlags(token_ids=True, prompt=True)
    events = (PromptEchoed(0, "Hi", (7, 8)), START, SequenceDelta(0, "a", token_ids=(1, 2)), *STOP_END)
    text = make(output).render_events(events).decode()
    assert text.count('"prompt_token_ids":[7,8],"choices"') == 1
    assert '"delta":{"content":"a"},"logprobs":null,"finish_reason":null,"token_ids":[1,2]}' in text
    answer = whole(make(output), events)
    assert (answer["prompt_token_ids"], answer["choices"][0]["token_ids"]) == ([7, 8], [1, 2])


def test_prompt_logprobs() -> None:
    echoed = PromptEchoed(0, "Hi", (7, 5), (None, TOKEN))
    answer = whole(make(OutputFlags(prompt=True, prompt_logprobs=2)), [echoed, START, *STOP_END])
    assert answer["prompt_logprobs"] == [
        None,
        {
            "5": {"logprob": -0.5, "rank": 2, "decoded_token": "é"},
            "6": {"logprob": -0.1, "rank": 1, "decoded_token": "e"},
        },
    ]
    assert "prompt_token_ids" not in answer


@pytest.mark.parametrize("events", [(START,), (START, SequenceDelta(0, ""))])
def test_an_empty_answer(events: tuple[Event, ...]) -> None:
    assert choices_of(make(), *events, *STOP_END) == [ROLE % '""', END % "stop"]
    assert whole(make(), [*events, *STOP_END])["choices"][0]["message"]["content"] == ""


def test_choices_begin_in_order() -> None:
    events = (START, SequenceStarted(1), SequenceStarted(2), SequenceDelta(2, "c"), SequenceDelta(0, "a"))
    text = make().render_events(events).decode()
    assert re.findall(r'"index":(\d),"delta":\{"(\w+)"', text) == [
        ("0", "role"),
        ("1", "role"),
        ("2", "role"),
        ("2", "content"),
        ("0", "content"),
    ]


def test_nothing_is_sent_before_there_is_something_to_say() -> None:
    assert make().render_events([START]) == b""
