"""The official OpenAI client's errors: their classes, codes and fields; and what happens when a client leaves."""

from collections.abc import Generator
from typing import cast

import openai
import pytest

from tests.clients.asked import CHAT_TOOLS, FRANCE, say
from tests.clients.target import Target
from tests.support.scripted_serving import CHAT_MODEL, scripted_serving

ENDLESS = '[[rules]]\nwhen = "for ever"\ntokens = 10000000\n'

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Generator[Target]:
    """A server that takes one call at a time."""
    environment = {
        "HEADRACE_SCHEDULER_MAX_IN_FLIGHT": "1",
        "HEADRACE_MODELS_SCRIPTED_CHAT_MAX_MODEL_TOKENS": "20000000",
    }
    folder = tmp_path_factory.mktemp("busy")
    with scripted_serving(folder, script=ENDLESS, environment=environment) as server:
        yield Target(server=server, model=CHAT_MODEL)


def test_models(client: openai.OpenAI, target: Target) -> None:
    models = list(client.models.list())
    assert target.model in [model.id for model in models]
    assert client.models.retrieve(target.model).object == "model"
    assert all("/" not in model.owned_by and model.created > 0 for model in models)


def test_a_wrong_key(scripted: Target) -> None:
    client = openai.OpenAI(base_url=scripted.openai_url, api_key="wrong", max_retries=0)
    with client, pytest.raises(openai.AuthenticationError) as caught:
        client.chat.completions.create(model=scripted.model, messages=FRANCE)
    assert (caught.value.code, caught.value.type) == ("invalid_api_key", "invalid_request_error")


def test_an_unknown_model(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="nobody", messages=FRANCE)
    assert (caught.value.code, caught.value.type) == ("model_not_found", "invalid_request_error")
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("nobody")
    assert caught.value.code == "model_not_found"


def test_an_unknown_route(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.images.generate(model="nobody", prompt="x")
    assert caught.value.code == "unknown_url"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"colour": "red"}, "colour"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": 1}}}}, None),
        ({"tools": CHAT_TOOLS, "tool_choice": {"type": "function", "function": {"name": "nobody"}}}, None),
    ],
    ids=lambda value: ",".join(cast("dict[str, object]", value)) if isinstance(value, dict) else "",
)
def test_a_bad_request(
    client: openai.OpenAI, target: Target, fields: dict[str, object], param: str | None, *, stream: bool
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=target.model, messages=FRANCE, stream=stream, extra_body=fields)
    assert caught.value.type == "invalid_request_error"
    assert caught.value.param is not None
    assert param is None or caught.value.param == param
    assert caught.value.request_id


@pytest.mark.engine
def test_a_prompt_that_does_not_fit(vllm: Target) -> None:
    with vllm.open_openai() as client, pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=vllm.model, messages=say("word " * 5000))
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")
    assert "2048" in caught.value.message


def test_one_too_many(busy: Target) -> None:
    with busy.open_openai() as client:
        with client.chat.completions.create(model=busy.model, messages=say("for ever"), stream=True) as stream:
            next(iter(stream))
            with pytest.raises(openai.RateLimitError) as caught:
                client.chat.completions.create(model=busy.model, messages=FRANCE)
            assert int(caught.value.response.headers["retry-after"]) >= 1
        busy.wait_cancelled(1)


def test_a_client_that_waits_its_turn(busy: Target) -> None:
    """The client's own retries go by our Retry-After."""
    with busy.open_openai() as client:
        stream = client.chat.completions.create(model=busy.model, messages=say("for ever"), stream=True)
        next(iter(stream))
        stream.close()
        answer = client.with_options(max_retries=5).chat.completions.create(
            model=busy.model, messages=FRANCE, max_tokens=4
        )
    assert answer.choices[0].message.content


def test_an_engine_that_fails_before_the_first_token_is_a_status(scripted: Target) -> None:
    with scripted.open_openai() as client:
        with pytest.raises(openai.InternalServerError):
            client.chat.completions.create(model=scripted.model, messages=say("fail now"))
        with pytest.raises(openai.InternalServerError):
            client.chat.completions.create(model=scripted.model, messages=say("fail now"), stream=True)
        assert client.chat.completions.create(model=scripted.model, messages=FRANCE).choices


def test_an_engine_that_fails_later_is_an_error_event(scripted: Target) -> None:
    with scripted.open_openai() as client:
        stream = client.chat.completions.create(model=scripted.model, messages=say("fail later"), stream=True)
        with pytest.raises(openai.APIError) as caught:
            list(stream)
    assert (caught.value.code, caught.value.type) == ("engine_error", "server_error")


def test_a_client_that_leaves_frees_the_engine(client: openai.OpenAI, target: Target) -> None:
    before = target.cancelled()
    stream = client.chat.completions.create(
        model=target.model,
        messages=say("for ever"),
        stream=True,
        max_tokens=1500,
        extra_body={"ignore_eos": True},
    )
    next(iter(stream))
    stream.close()
    target.wait_cancelled(before + 1)


def test_a_client_that_waits_no_longer_frees_the_engine(scripted: Target) -> None:
    before = scripted.cancelled()
    with scripted.open_openai() as client, pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.5).chat.completions.create(model=scripted.model, messages=say("for ever"))
    scripted.wait_cancelled(before + 1)


async def test_an_async_client_that_is_cancelled_frees_the_engine(
    async_client: openai.AsyncOpenAI, target: Target
) -> None:
    before = target.cancelled()
    stream = await async_client.chat.completions.create(
        model=target.model,
        messages=say("for ever"),
        stream=True,
        max_tokens=1500,
        extra_body={"ignore_eos": True},
    )
    async with stream:
        await anext(aiter(stream))
    target.wait_cancelled(before + 1)
