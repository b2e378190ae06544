"""A mailbox keeps the promises of a stream, whatever arrives."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from headrace.scheduler.mailbox import Mailbox
from headrace.schema.errors import ErrorCode
from headrace.schema.events import (
    Event,
    GenerationFinished,
    GenerationStarted,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    Signature,
    StreamChunk,
    Usage,
    is_terminal,
)

START: tuple[Event, ...] = (GenerationStarted("w1", 3), SequenceStarted(0))
END: tuple[Event, ...] = (SequenceFinished(0, "stop"), GenerationFinished(Usage(3, 5)))


def _mailbox() -> Mailbox:
    return Mailbox("r", model="m")


def _chunk(offset: int, *events: Event, attempt: int = 1) -> StreamChunk:
    return StreamChunk("r", attempt, offset, events)


async def _read_all(mailbox: Mailbox) -> list[Event]:
    events: list[Event] = []
    while batch := await mailbox.receive():
        events.extend(batch)
    return events


async def test_a_whole_stream_passes_unchanged() -> None:
    mailbox = _mailbox()
    stream = [*START, SequenceDelta(0, "a"), *END]
    mailbox.accept(_chunk(0, *stream))
    assert await _read_all(mailbox) == stream
    assert mailbox.usage == Usage(3, 5)
    assert mailbox.worker_id == "w1"


async def test_a_reader_that_waits_is_woken() -> None:
    mailbox = _mailbox()
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(_read_all(mailbox))
        for offset, event in enumerate([*START, *END]):
            await asyncio.sleep(0)
            mailbox.accept(_chunk(offset, event))
    assert reading.result() == [*START, *END]


@given(st.lists(st.tuples(st.integers(0, 13), st.integers(0, 13)), max_size=20))
async def test_any_split_and_any_repetition_give_the_same_stream(parts: list[tuple[int, int]]) -> None:
    stream: list[Event] = [*START, *(SequenceDelta(0, str(n)) for n in range(10)), *END]
    mailbox = _mailbox()
    reached = 0
    for back, length in parts:
        begin = max(0, reached - back)
        reached = max(reached, min(begin + length, len(stream)))
        mailbox.accept(_chunk(begin, *stream[begin : begin + length]))
    mailbox.accept(_chunk(reached, *stream[reached:]))
    assert await _read_all(mailbox) == stream


async def test_a_hole_is_noticed_and_filled_by_telling_again() -> None:
    mailbox = _mailbox()
    mailbox.accept(_chunk(0, *START))
    mailbox.accept(_chunk(3, SequenceDelta(0, "late")))
    assert mailbox.is_missing
    mailbox.accept(StreamChunk("r", 1, 4, (*START, SequenceDelta(0, "early late")), retells=True))
    assert not mailbox.is_missing
    mailbox.accept(_chunk(4, SequenceDelta(0, " later"), *END))
    events = await _read_all(mailbox)
    assert "".join(event.text for event in events if isinstance(event, SequenceDelta)) == "early late later"
    assert [type(event) for event in events].count(SequenceStarted) == 1


async def test_an_older_attempt_is_fenced_off() -> None:
    mailbox = _mailbox()
    mailbox.accept(_chunk(0, *START))
    assert mailbox.begin_attempt("w2") == 2
    mailbox.accept(_chunk(2, SequenceDelta(0, "old")))
    mailbox.accept(_chunk(0, GenerationStarted("w2", 3), SequenceStarted(0), attempt=2))
    mailbox.accept(_chunk(2, SequenceDelta(0, "new"), *END, attempt=2))
    assert await _read_all(mailbox) == [*START, SequenceDelta(0, "new"), *END]
    assert mailbox.worker_id == "w2"


async def test_a_reader_sleeps_on_when_a_further_attempt_says_nothing_new() -> None:
    mailbox = _mailbox()
    mailbox.accept(_chunk(0, *START))
    assert await mailbox.receive() == [*START]
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(_read_all(mailbox))
        await asyncio.sleep(0)
        mailbox.begin_attempt("w2")
        mailbox.accept(_chunk(0, *START, attempt=2))
        await asyncio.sleep(0)
        mailbox.accept(_chunk(2, *END, attempt=2))
    assert reading.result() == [*END]


async def test_every_sequence_that_started_finishes_when_the_generation_fails() -> None:
    mailbox = _mailbox()
    mailbox.accept(_chunk(0, *START, SequenceStarted(1), SequenceStarted(2), SequenceFinished(1, "stop")))
    mailbox.fail(ErrorCode.CANCELLED, "cancelled")
    events = await _read_all(mailbox)
    assert events[-3:-1] == [SequenceFinished(0, "cancelled"), SequenceFinished(2, "cancelled")]
    assert is_terminal(events[-1])


async def test_nothing_follows_the_terminal_event() -> None:
    mailbox = _mailbox()
    mailbox.accept(_chunk(0, *START, *END, SequenceDelta(0, "ghost"), GenerationFinished(Usage(0, 0))))
    mailbox.accept(_chunk(4, SequenceDelta(0, "ghost")))
    mailbox.fail(ErrorCode.WORKER_LOST, "too late")
    assert await _read_all(mailbox) == [*START, *END]
    assert await mailbox.receive() == ()


async def test_a_slow_reader_costs_the_text_and_not_the_steps() -> None:
    mailbox = _mailbox()
    mailbox.accept(_chunk(0, *START))
    for step in range(10_000):
        mailbox.accept(_chunk(2 + step, SequenceDelta(0, "x")))
    batch = await mailbox.receive()
    assert len(batch) <= 70
    assert "".join(event.text for event in batch if isinstance(event, SequenceDelta)) == "x" * 10_000


async def test_the_stage_says_how_far_it_came() -> None:
    mailbox = _mailbox()
    assert mailbox.stage == "queue"
    mailbox.accept(_chunk(0, *START))
    assert mailbox.stage == "prefill"
    mailbox.accept(_chunk(2, SequenceDelta(0, "x")))
    assert mailbox.stage == "decode"


async def test_reasoning_that_nobody_asked_for_is_known_to_the_next_attempt_and_not_shown() -> None:
    mailbox = Mailbox("r", model="m", shows_token_ids=True, shows_reasoning=False)
    mailbox.accept(_chunk(0, *START, SequenceDelta(0, "", (1, 2), None, "Hm."), SequenceDelta(0, "Yes.", (3,))))
    events = await mailbox.receive()
    assert [event for event in events if isinstance(event, SequenceDelta)] == [SequenceDelta(0, "Yes.", (3,))]
    assert mailbox.told()[0].token_ids == (1, 2, 3)


async def test_the_signature_of_a_thought_goes_with_the_thought() -> None:
    signature = Signature("c2lnbmVk", "anthropic")
    deltas = [
        SequenceDelta(0, "", (1,), reasoning="Hm.", thought_signature=signature),
        SequenceDelta(0, "", thought_signature=signature),
        SequenceDelta(0, "a", (2,), reasoning="So", thought_signature=signature, text_signature=signature),
        SequenceDelta(0, "", text_signature=signature),
    ]
    shown = Mailbox("r", model="m")
    shown.accept(_chunk(0, *START, *deltas, *END))
    assert await _read_all(shown) == [*START, *(structs.replace(delta, token_ids=None) for delta in deltas), *END]
    hidden = Mailbox("r", model="m", shows_reasoning=False)
    hidden.accept(_chunk(0, *START, *deltas, *END))
    signed = [SequenceDelta(0, "a", text_signature=signature), SequenceDelta(0, "", text_signature=signature)]
    assert await _read_all(hidden) == [*START, *signed, *END]
