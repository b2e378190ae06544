"""The chat against a gateway that answers from a list: streams, refusals, broken connections."""

from collections.abc import Callable

import httpx
import pytest

from headrace.apps.cli.chat.client import ChatClient, ChatError, ChatMessage
from headrace.apps.cli.chat.options import ChatOptions
from headrace.apps.cli.chat.run import Conversation, read_api_key
from headrace.apps.cli.chat.stream import read_events

HELLO = [ChatMessage("user", "Hello")]
STREAM = (
    'event: chunk\nid: gen_1:2\ndata: {"events":[{"type":"generation_started"},{"type":"sequence_started","index":0}]}'
    "\n\n: keepalive\n\n"
    'event: chunk\ndata: {"events":[{"type":"sequence_delta","index":0,"text":"Hé"},{"type":"from_the_future","x":1}]}'
    '\n\nevent: chunk\ndata: {"events":[{"type":"sequence_delta","index":0,"text":"llo"},'
    '{"type":"sequence_finished","index":0,"finish_reason":"stop"},{"type":"generation_finished","usage":null}]}\n\n'
)
Answer = Callable[[httpx.Request], httpx.Response]


def make_client(answer: Answer, *, api_key: str | None = None, **options: str | float) -> ChatClient:
    return ChatClient(
        ChatOptions(model="m", **options),  # pyright: ignore[reportArgumentType] - the tests pass what fits
        api_key=api_key,
        transport=httpx.MockTransport(answer),
    )


def read(client: ChatClient) -> str:
    return "".join(event.text for event in client.stream_answer(HELLO))


def answering(status: int, text: str) -> Answer:
    return lambda _request: httpx.Response(status, text=text)


def failing(error: Exception) -> Answer:
    def answer(_request: httpx.Request) -> httpx.Response:
        raise error

    return answer


def test_the_text_of_a_stream_is_put_together() -> None:
    assert read(make_client(lambda _request: httpx.Response(200, text=STREAM))) == "Héllo"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_it_does_not_matter_how_the_bytes_arrive(size: int) -> None:
    data = STREAM.encode()
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    assert read(make_client(lambda _request: httpx.Response(200, content=iter(pieces)))) == "Héllo"


def test_an_event_may_have_several_data_lines() -> None:
    events = list(read_events(["data: {", 'data: "events":[{"type":"a"}]', "data: }", "", "retry: 5", ""]))
    assert [event.type for event in events] == ["a"]


def test_the_request_says_what_was_asked_for() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, text=STREAM)

    read(make_client(answer, api_key="k", max_tokens=5, temperature=0.0))
    assert seen[0].url.path == "/v1/generations"
    assert seen[0].headers["authorization"] == "Bearer k"
    assert seen[0].content == (
        b'{"model":"m","messages":[{"role":"user","content":"Hello"}],'
        b'"generation_parameters":{"max_tokens":5,"temperature":0.0},"stream":true}'
    )


def test_an_unknown_model_lists_those_that_are_there() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models":
            return httpx.Response(200, json={"object": "list", "data": [{"id": "a"}, {"id": "b"}]})
        return httpx.Response(404, json={"error": {"code": "model_not_found", "message": "no", "retryable": False}})

    with pytest.raises(ChatError, match=r"there is no model m; type one of: a, b"):
        read(make_client(answer))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (failing(httpx.ConnectError("refused")), r"nothing answers at http://127.0.0.1:8000.*just serve"),
        (failing(httpx.ReadTimeout("slow")), r"stopped answering.*headrace doctor"),
        (failing(httpx.ReadError("reset")), r"broke off"),
        (answering(200, STREAM[:150]), r"broke off"),
        (answering(200, "data: what?\n\n"), r"broke off"),
        (answering(502, "<html>"), r"answered 502, and not as Headrace does"),
        (answering(401, '{"error":{"code":"unauthorized","message":"no"}}'), r"HEADRACE_API_KEY"),
        (
            answering(429, '{"error":{"code":"overloaded","message":"too many requests","retryable":true}}'),
            r"^too many requests \(overloaded\). Type it again",
        ),
        (
            answering(
                200,
                'data: {"events":[{"type":"generation_failed","error":{"code":"worker_lost","message":"gone"}}]}\n\n',
            ),
            r"^gone \(worker_lost\)\.$",
        ),
    ],
)
def test_every_failure_is_one_line_that_says_what_to_do(answer: Answer, message: str) -> None:
    with pytest.raises(ChatError, match=message) as caught:
        read(make_client(answer))
    assert "\n" not in str(caught.value)


def test_an_address_that_is_none_is_said() -> None:
    with pytest.raises(ChatError, match="--url localhost:8000 is not an address"):
        read(ChatClient(ChatOptions(model="m", url="localhost:8000"), api_key=None))


def test_cancelling_names_the_generation() -> None:
    seen: list[tuple[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.method, request.url.path))
        return httpx.Response(200, text=STREAM, headers={"Headrace-Request-Id": "gen_7"})

    client = make_client(answer)
    client.cancel()
    next(client.stream_answer(HELLO))
    client.cancel()
    assert seen == [("POST", "/v1/generations"), ("DELETE", "/v1/generations/gen_7")]


def test_a_conversation_remembers_whole_answers_only(capsys: pytest.CaptureFixture[str]) -> None:
    texts = iter([STREAM, STREAM[:300], STREAM])
    conversation = Conversation(make_client(lambda _request: httpx.Response(200, text=next(texts))), system="Be brief.")
    conversation.ask("one")
    with pytest.raises(ChatError):
        conversation.ask("two")
    conversation.ask("three")
    assert [(message.role, message.content) for message in conversation.messages] == [
        ("system", "Be brief."),
        ("user", "one"),
        ("assistant", "Héllo"),
        ("user", "three"),
        ("assistant", "Héllo"),
    ]
    assert capsys.readouterr().out == "Héllo\nHé\nHéllo\n"
    conversation.reset()
    assert [message.role for message in conversation.messages] == ["system"]


def test_the_key_comes_from_the_environment_or_a_file(tmp_path: object) -> None:
    assert read_api_key({}) is None
    assert read_api_key({"HEADRACE_API_KEY": "k"}) == "k"
    with pytest.raises(FileNotFoundError):
        read_api_key({"HEADRACE_API_KEY_FILE": "/nowhere"})
