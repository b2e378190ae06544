"""The double."""

import asyncio
from contextlib import aclosing

import pytest

from headrace.providers.base import Fault, Provider, ProviderError
from headrace.providers.build import build_provider
from headrace.providers.scripted import DEMO_TEXT, Fail, Hang, ScriptedProvider, Tell, Wait, say
from headrace.schema.errors import ErrorCode
from headrace.schema.events import GenerationStarted, SequenceStarted
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
