"""The double."""

import asyncio
from contextlib import aclosing

import pytest

from headrace.providers.base import Fault, Provider, ProviderError
from headrace.providers.build import build_provider
from headrace.providers.scripted import DEMO_TEXT, Fail, Hang, ScriptedProvider, Tell, Wait, say
from headrace.schema.errors import ErrorCode
from headrace.schema.events import (
    GenerationFinished,
    GenerationStarted,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    Usage,
)
from headrace.schema.messages import Message
from headrace.schema.request import ChatCompletionRequest, GenerationParameters
from headrace.schema.settings import ProviderSettings
from tests.support.providers import collect, fold, make_call

ILL = ProviderError(ErrorCode.PROVIDER_ERROR, "ill", fault=Fault.UPSTREAM)


async def test_plays_follow_each_other_and_the_last_stays() -> None:
    provider: Provider = ScriptedProvider("s", [(Fail(ILL),), say("s", "one two"), (Wait(0.0), *say("s", "three"))])
    with pytest.raises(ProviderError):
        await collect(provider)
    assert fold(await collect(provider)).sequences[0].text == "one two"
    for _ in range(2):
        answer = fold(await collect(provider))
        assert answer.sequences[0].text == "three"
        assert answer.usage.output_tokens == 1


@pytest.mark.parametrize(
    ("most", "text", "reason", "tokens"),
    [
        (1, "one ", "length", 1),
        (2, "one two ", "length", 2),
        (3, "one two three", "stop", 3),
        (9, "one two three", "stop", 3),
    ],
)
async def test_no_sequence_has_more_tokens_than_were_asked_for(most: int, text: str, reason: str, tokens: int) -> None:
    provider = ScriptedProvider("s", [say("s", "one two three", input_tokens=7)])
    request = ChatCompletionRequest(
        model="m", messages=(Message("user", "Hi"),), generation_parameters=GenerationParameters(max_tokens=most)
    )
    answer = fold(await collect(provider, make_call(request)))
    assert (answer.sequences[0].text, answer.sequences[0].finish_reason) == (text, reason)
    assert answer.usage == Usage(7, tokens)


async def test_a_sequence_that_is_cut_leaves_the_others_whole() -> None:
    words = tuple(SequenceDelta(index, word) for word in "abc" for index in (0, 1) if word == "a" or index)
    ends = (SequenceFinished(0, "stop"), SequenceFinished(1, "stop"), GenerationFinished(Usage(1, 4, 0, 4)))
    play = (Tell((GenerationStarted("provider:s"), SequenceStarted(0), SequenceStarted(1))), Tell(words), Tell(ends))
    request = ChatCompletionRequest(
        model="m", messages=(Message("user", "Hi"),), generation_parameters=GenerationParameters(max_tokens=2, n=2)
    )
    events = await collect(ScriptedProvider("s", [play]), make_call(request))
    assert events[-3:] == [
        SequenceFinished(0, "stop"),
        SequenceFinished(1, "length"),
        GenerationFinished(Usage(1, 3, 0, 3)),
    ]


async def test_a_reader_that_leaves_is_counted() -> None:
    begin = Tell((GenerationStarted("provider:s"), SequenceStarted(0)))
    provider = ScriptedProvider("s", [(begin, Hang())])
    async with aclosing(provider.generate(make_call())) as lists:
        await anext(lists)
    assert provider.left_early == 1
    assert len(provider.calls) == 1


async def test_from_settings() -> None:
    provider = build_provider("demo", ProviderSettings(kind="scripted"))
    async with asyncio.timeout(20):
        assert fold(await collect(provider)).sequences[0].text == DEMO_TEXT
    await provider.check()
    await provider.close()


async def test_one_that_can_not_be_reached() -> None:
    provider = ScriptedProvider("s", unreachable=ILL)
    with pytest.raises(ProviderError):
        await provider.check()
    await provider.close()
    assert provider.is_closed
