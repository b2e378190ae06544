"""Requests that are too large for the broker, from submit to the last event."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from headrace.schema.errors import ErrorCode
from headrace.schema.events import GenerationFailed
from headrace.transport.objects import FileObjectStore
from tests.contract.transport.harness import MemoryHarness
from tests.integration.path.rig import Rig, read, running_rig, text_of

LARGE = "word " * 40_000


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running_rig(MemoryHarness(), FileObjectStore(tmp_path)) as rig:
        yield rig


def kept_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_a_large_request_is_answered_and_leaves_nothing(rig: Rig, tmp_path: Path) -> None:
    generation = await rig.submit(LARGE, text="Large indeed.")
    (kept,) = await asyncio.to_thread(kept_in, tmp_path)
    assert kept.stat().st_size > len(LARGE)
    await rig.start_worker()
    assert text_of(await read(generation)) == "Large indeed."
    async with asyncio.timeout(5):
        while await asyncio.to_thread(kept_in, tmp_path):
            pass


async def test_a_small_request_never_goes_there(rig: Rig, tmp_path: Path) -> None:
    await rig.start_worker()
    generation = await rig.submit(text="Small.")
    assert await asyncio.to_thread(kept_in, tmp_path) == []
    assert text_of(await read(generation)) == "Small."


@pytest.mark.parametrize("altered", [None, b"something else"])
async def test_a_request_that_is_gone_or_altered_is_an_error_and_harms_no_other(
    rig: Rig, tmp_path: Path, altered: bytes | None
) -> None:
    generation = await rig.submit(LARGE, text="Never said.")
    (kept,) = await asyncio.to_thread(kept_in, tmp_path)
    await asyncio.to_thread(kept.unlink)
    if altered is not None:
        await asyncio.to_thread(kept.write_bytes, altered)
    await rig.start_worker()
    failure = (await read(generation))[-1]
    assert isinstance(failure, GenerationFailed)
    assert (failure.code, failure.retryable) == (ErrorCode.PAYLOAD_LOST, True)
    assert text_of(await read(await rig.submit(text="Next."))) == "Next."
