"""A further attempt is joined to what was told before it, whatever the pieces in which either came."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from headrace.schema.events import SequenceDelta, Signature, TokenLogprob, ToolCallDelta
from headrace.schema.merge import merge_deltas
from headrace.schema.progress import SequenceProgress, SequenceSeam


def make_step(
    token: int, text: str, reasoning: str, call: tuple[int, str] | None, signatures: tuple[Signature | None, ...]
) -> SequenceDelta:
    calls = () if call is None else (ToolCallDelta(call[0], call[1]),)
    return SequenceDelta(0, text, (token,), (TokenLogprob(token, text, -1.0),), reasoning, calls, *signatures)


_STEP = st.builds(
    make_step,
    st.integers(0, 9),
    st.text(max_size=3),
    st.text(max_size=2),
    st.none() | st.tuples(st.integers(0, 1), st.text(max_size=3)),
    st.tuples(*[st.none() | st.builds(Signature, st.text(max_size=2), st.just("v"))] * 2),
)
_ANSWERS = st.lists(_STEP, max_size=12)


def opened(steps: list[SequenceDelta]) -> list[SequenceDelta]:
    """The same steps, with an id and a name on the first piece of each call."""
    seen: set[int] = set()
    result: list[SequenceDelta] = []
    for step in steps:
        calls = tuple(
            call if call.index in seen else ToolCallDelta(call.index, call.arguments, f"call_{call.index}", "tool")
            for call in step.tool_calls
        )
        seen |= {call.index for call in calls}
        result.append(structs.replace(step, tool_calls=calls))
    return result


def told_by(deltas: list[SequenceDelta]) -> tuple[object, ...]:
    """All that deltas say, whatever their pieces."""
    calls: dict[int, list[str | None]] = {}
    for delta in deltas:
        for call in delta.tool_calls:
            if call.index not in calls:
                calls[call.index] = [call.id, call.name, ""]
            calls[call.index][2] = f"{calls[call.index][2]}{call.arguments}"
    return (
        "".join(delta.text for delta in deltas),
        "".join(delta.reasoning for delta in deltas),
        [token for delta in deltas for token in delta.token_ids or ()],
        [item for delta in deltas for item in delta.logprobs or ()],
        [delta.thought_signature for delta in deltas if delta.thought_signature is not None],
        [delta.text_signature for delta in deltas if delta.text_signature is not None],
        calls,
    )


def regroup(steps: list[SequenceDelta], cuts: set[int]) -> list[SequenceDelta]:
    """The same steps in other pieces."""
    groups: list[list[SequenceDelta]] = [[]]
    for i, step in enumerate(steps):
        if i in cuts:
            groups.append([])
        groups[-1].append(step)
    return [event for group in groups for event in merge_deltas(group) if isinstance(event, SequenceDelta)]


@given(_ANSWERS, st.integers(0, 12), st.sets(st.integers(0, 12)))
def test_what_was_told_and_what_is_new_are_the_whole_answer(
    steps: list[SequenceDelta], cut: int, cuts: set[int]
) -> None:
    answer = opened(steps)
    told = answer[:cut]
    progress = SequenceProgress()
    for delta in told:
        progress.note(delta)
    seam = SequenceSeam(progress)
    new = [rest for delta in regroup(answer, cuts) if (rest := seam.trim(delta)) is not None]
    assert told_by([*told, *new]) == told_by(answer)
    assert seam.is_passed


def test_another_answer_is_never_spliced_on() -> None:
    progress = SequenceProgress()
    progress.note(SequenceDelta(0, "ab", (1, 2)))
    with pytest.raises(ValueError, match="something else"):
        SequenceSeam(progress).trim(SequenceDelta(0, "ac", (1, 3)))
