"""What a generation may say: the scripts that every dialect renders."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import msgspec
from hypothesis import strategies as st
from msgspec import Struct

from headrace.schema.events import (
    Event,
    FinishReason,
    GenerationFailed,
    GenerationFinished,
    GenerationQueued,
    GenerationStarted,
    PromptEchoed,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    Signature,
    Timings,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)

Feature = Literal["n", "reasoning", "tools", "logprobs", "stop", "count", "echo", "signatures"]
"""What a request must ask for, so that an answer like this comes. A dialect without a word for it skips the script."""

REQUEST_ID = "gen_0123456789abcdef0123456789abcdef"
ECHOED = "Once upon a"
USAGE = Usage(12, 7, 4, 2)
# The last three are line breaks to many readers of lines, and are none in JSON.
UNICODE = 'Grüße 👋🏽 日本語 \\ "quoted"\n\tindented \u2028\u2029\x85 end'
FAILED = GenerationFailed("engine_dead", "the engine died", "decode", retryable=True, usage=Usage(12, 3))


class Script(Struct, frozen=True, kw_only=True):
    """A stream of events, and what a request needs to get one like it."""

    name: str
    events: tuple[Event, ...]
    features: frozenset[Feature] = frozenset()

    @property
    def fails(self) -> bool:
        return isinstance(self.events[-1], GenerationFailed)


def make_stream(
    *sequences: Sequence[SequenceDelta], end: FinishReason = "stop", stop: str | None = None
) -> tuple[Event, ...]:
    """Return a whole stream; sequences take turns."""
    longest = max(map(len, sequences))
    turns = [deltas[i] for i in range(longest) for deltas in sequences if i < len(deltas)]
    indexes = range(len(sequences))
    return (
        GenerationQueued(3),
        GenerationStarted("worker-1", 12),
        *(SequenceStarted(i) for i in indexes),
        *turns,
        *(SequenceFinished(i, end, stop) for i in indexes),
        GenerationFinished(USAGE, Timings(0.25, 0.5, 1.5)),
    )


def say(*texts: str, index: int = 0) -> list[SequenceDelta]:
    return [SequenceDelta(index, text) for text in texts]


def think(*texts: str) -> list[SequenceDelta]:
    return [SequenceDelta(0, "", reasoning=text) for text in texts]


def sign_thought(value: str, vendor: str = "anthropic", *, is_redacted: bool = False) -> list[SequenceDelta]:
    return [SequenceDelta(0, "", thought_signature=Signature(value, vendor, is_redacted))]


def sign_text(value: str, vendor: str = "gemini") -> list[SequenceDelta]:
    return [SequenceDelta(0, "", text_signature=Signature(value, vendor))]


def call(number: int, *pieces: str, signature: str | None = None) -> list[SequenceDelta]:
    name = "get_weather" if number == 0 else "get_time"
    signed = None if signature is None else Signature(signature, "gemini")
    begin = ToolCallDelta(number, pieces[0], f"call_{number:024x}", name, signed)
    rest = [ToolCallDelta(number, piece) for piece in pieces[1:]]
    return [SequenceDelta(0, "", tool_calls=(delta,)) for delta in (begin, *rest)]


def _logprob(token_id: int, text: str) -> TokenLogprob:
    others = (TokenLogprob(token_id, text, -0.5, text.encode()), TokenLogprob(9, "ß", -1.5, "ß".encode()))
    return TokenLogprob(token_id, text, -0.5, text.encode(), others)


_BEGUN = make_stream(say("Hello"))[1:4]

SCRIPTS = (
    Script(name="text", events=make_stream(say("Hello", ", ", "world", "."))),
    Script(name="unicode", events=make_stream(say(UNICODE, UNICODE))),
    Script(name="empty", events=make_stream([])),
    Script(name="length", events=make_stream(say("Hello, wor"), end="length")),
    Script(name="filtered", events=make_stream(say("Hello, wor"), end="content_filter")),
    Script(name="stop sequence", events=make_stream(say("Hello"), stop="END"), features=frozenset[Feature]({"stop"})),
    Script(
        name="several",
        events=make_stream(say("one", " two"), say("uno", " dos", " tres", index=1), say("eins", index=2)),
        features=frozenset[Feature]({"n"}),
    ),
    Script(
        name="reasoning",
        events=make_stream([*think("Hm, ", "let me see."), *say("It is ", "so.")]),
        features=frozenset[Feature]({"reasoning"}),
    ),
    Script(
        name="only reasoning",
        events=make_stream(think("Hm, ", "let me"), end="length"),
        features=frozenset[Feature]({"reasoning"}),
    ),
    Script(
        name="tool call",
        events=make_stream(call(0, '{"city":', ' "Bonn"', "}"), end="tool_calls"),
        features=frozenset[Feature]({"tools"}),
    ),
    Script(
        name="parallel calls",
        events=make_stream([*say("Let me look."), *call(0, '{"city": "Bonn"}'), *call(1, "{", "}")], end="tool_calls"),
        features=frozenset[Feature]({"tools"}),
    ),
    Script(
        name="everything at once",
        events=make_stream(
            [
                SequenceDelta(
                    0,
                    "Let me look.",
                    None,
                    None,
                    "Hm.",
                    (*call(0, '{"city": "Bonn"}')[0].tool_calls, *call(1, "{}")[0].tool_calls),
                )
            ],
            end="tool_calls",
        ),
        features=frozenset[Feature]({"tools", "reasoning"}),
    ),
    Script(
        name="signed thoughts",
        events=make_stream(
            [
                *think("Two ", "cities."),
                *sign_thought("c2lnbmVk+/=="),
                *sign_thought("ZW5jcnlwdGVk", is_redacted=True),
                *say("I ", "look."),
                *call(0, '{"city": "Bonn"}'),
            ],
            end="tool_calls",
        ),
        features=frozenset[Feature]({"reasoning", "tools", "signatures"}),
    ),
    Script(
        name="thoughts between",
        events=make_stream(
            [
                *think("Hm."),
                *sign_thought("b25l"),
                *say("Wait."),
                *sign_thought("dHdv"),
                *think("So"),
                *sign_thought("dGhyZWU="),
                *call(0, "{}"),
                *call(1, "{", "}"),
            ],
            end="tool_calls",
        ),
        features=frozenset[Feature]({"reasoning", "tools", "signatures"}),
    ),
    Script(
        name="signed by gemini",
        events=make_stream(
            [
                *think("Hm."),
                *sign_thought("dGhvdWdodA==", "gemini"),
                *say("I look."),
                *sign_text("dGV4dA=="),
                *call(0, '{"city": "Bonn"}', signature="Y2FsbA+/"),
                *call(1, "{}", signature="not base64: \u00e9"),
            ],
            end="tool_calls",
        ),
        features=frozenset[Feature]({"reasoning", "tools", "signatures"}),
    ),
    Script(
        name="an empty text that is signed",
        events=make_stream([*say("42"), *sign_text("dGV4dA==")]),
        features=frozenset[Feature]({"signatures"}),
    ),
    Script(
        name="everything signed at once",
        events=make_stream(
            [
                SequenceDelta(
                    0,
                    "I look.",
                    None,
                    None,
                    "Hm.",
                    call(0, "{}", signature="Y2FsbA==")[0].tool_calls,
                    Signature("b25l", "anthropic"),
                    Signature("dGV4dA==", "gemini"),
                )
            ],
            end="tool_calls",
        ),
        features=frozenset[Feature]({"reasoning", "tools", "signatures"}),
    ),
    Script(
        name="logprobs",
        events=make_stream(
            [SequenceDelta(0, "Hel", (5,), (_logprob(5, "Hel"),)), SequenceDelta(0, "lo", (6,), (_logprob(6, "lo"),))]
        ),
        features=frozenset[Feature]({"logprobs"}),
    ),
    Script(
        name="echo",
        events=(
            GenerationStarted("worker-1", 12),
            PromptEchoed(0, ECHOED, (1, 2, 3), (None, _logprob(2, " upon"), _logprob(3, " a"))),
            *make_stream([SequenceDelta(0, " time", (4,), (_logprob(4, " time"),))])[2:],
        ),
        features=frozenset[Feature]({"echo"}),
    ),
    Script(
        name="count",
        events=(GenerationStarted("worker-1", 12), GenerationFinished(Usage(12, 0))),
        features=frozenset[Feature]({"count"}),
    ),
    Script(name="failure before anything", events=(FAILED,)),
    Script(name="failure before text", events=(*_BEGUN[:2], SequenceFinished(0, "error"), FAILED)),
    Script(name="failure after text", events=(*_BEGUN, SequenceFinished(0, "error"), FAILED)),
)


def _cut(text: str, draw: st.DrawFn) -> list[str]:
    """Cut a text into pieces, none of them empty but an empty text's only one."""
    places = draw(st.lists(st.integers(1, max(1, len(text) - 1)), max_size=4)) if len(text) > 1 else []
    return [text[a:b] for a, b in pairwise(sorted({0, len(text), *places}))] or [""]


def _split(delta: SequenceDelta, draw: st.DrawFn) -> list[SequenceDelta]:
    """Say a delta in smaller ones; its tokens come with the first that has text."""
    index = delta.index
    thoughts = [SequenceDelta(index, "", reasoning=piece) for piece in _cut(delta.reasoning, draw) if piece]
    if delta.thought_signature is not None:
        thoughts = _sign(thoughts, SequenceDelta(index, "", thought_signature=delta.thought_signature), draw)
    texts = [SequenceDelta(index, piece) for piece in _cut(delta.text, draw) if piece]
    if texts:
        texts[0] = msgspec.structs.replace(texts[0], token_ids=delta.token_ids, logprobs=delta.logprobs)
    if delta.text_signature is not None:
        texts = _sign(texts, SequenceDelta(index, "", text_signature=delta.text_signature), draw)
    calls: list[SequenceDelta] = []
    for grown in delta.tool_calls:
        first, *rest = _cut(grown.arguments, draw)
        pieces = [
            ToolCallDelta(grown.index, first, grown.id, grown.name, grown.signature),
            *(ToolCallDelta(grown.index, p) for p in rest),
        ]
        calls += (SequenceDelta(index, "", tool_calls=(piece,)) for piece in pieces)
    return [*thoughts, *texts, *calls]


def _sign(deltas: list[SequenceDelta], signed: SequenceDelta, draw: st.DrawFn) -> list[SequenceDelta]:
    """Let a signature come with the last piece, or after it."""
    if not deltas or draw(st.booleans()):
        return [*deltas, signed]
    last = msgspec.structs.replace(
        deltas[-1], thought_signature=signed.thought_signature, text_signature=signed.text_signature
    )
    return [*deltas[:-1], last]


@st.composite
def splits(draw: st.DrawFn, script: Script) -> list[list[Event]]:
    """Return the same stream in other deltas and in other batches."""
    events: list[Event] = []
    for event in script.events:
        events += _split(event, draw) if isinstance(event, SequenceDelta) else [event]
    places = draw(st.lists(st.integers(0, len(events)), max_size=6))
    return [events[a:b] for a, b in pairwise(sorted({0, len(events), *places}))]
