"""The tables of docs/wire.md say what the Structs are."""

import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from msgspec import NODEFAULT, Struct

from headrace.schema.control import ControlMessage, ToldSequence
from headrace.schema.dead_letter import HEADER, DeadLetter, LostAttempt
from headrace.schema.events import (
    Event,
    FinishReason,
    ReplyItem,
    Signature,
    Stage,
    Timings,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from headrace.schema.last_word import LastWord
from headrace.schema.names import (
    CONTROL_EXCHANGE,
    REPLY_EXCHANGE,
    control_queue_name,
    dead_letter_queue_name,
    model_control_key,
    reply_queue_name,
    task_queue_name,
    worker_control_key,
)
from headrace.schema.request import ChatCompletionRequest
from headrace.schema.task import MAX_PRIORITY, GenerationTask
from headrace.transport.rabbitmq.topology import QueueKind, dead_letter_queue_arguments, task_queue_arguments
from tests.golden import structs_v1

FAMILIES: dict[str, tuple[type[Struct], ...]] = {
    "Reply items": get_args(ReplyItem),
    "Events": get_args(Event),
    "Inside events": (Usage, Timings, TokenLogprob, Signature, ToolCallDelta),
    "Control": get_args(ControlMessage),
    "Inside control": (ToldSequence, LostAttempt),
    "Inside last words": (LastWord,),
}
_NO_TAG = "none"
_NAMES = {repr(Event): "Event", repr(FinishReason): "FinishReason", repr(Stage): "Stage"}


@pytest.fixture
def page(repository: Path) -> str:
    return (repository / "docs" / "wire.md").read_text(encoding="utf-8")


def _section(page: str, title: str) -> list[list[str]]:
    """Return the cells of the first table below a heading."""
    _, _, rest = page.partition(f"# {title}\n")
    assert rest, f"docs/wire.md has no heading {title!r}"
    table = re.search(r"(?:^\|.*\n)+", rest, re.MULTILINE)
    assert table, f"docs/wire.md has no table below {title!r}"
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[0].splitlines()[2:]]


def _show_type(kind: object) -> str:
    text = kind.__name__ if isinstance(kind, type) and not get_args(kind) else repr(kind)
    for written, name in _NAMES.items():
        text = text.replace(written, name)
    return re.sub(r"[\w.]+\.(\w+)", r"\1", text.replace("...", "…")).replace("…", "...").replace(" | ", " or ")


def _show_fields(struct: type[Struct]) -> str:
    shown: list[str] = []
    for item in msgspec.structs.fields(struct):
        default = "" if item.default is NODEFAULT else f" = {item.default!r}"
        shown.append(f"`{item.name}: {_show_type(item.type)}{default}`")
    return ", ".join(shown)


@pytest.mark.parametrize("family", FAMILIES)
def test_structs_that_are_arrays(page: str, family: str) -> None:
    expected: list[list[str]] = []
    for struct in FAMILIES[family]:
        config = struct.__struct_config__
        assert config.array_like
        assert config.frozen
        tag = _NO_TAG if config.tag is None else str(config.tag)
        expected.append([tag, f"`{struct.__name__}`", _show_fields(struct)])
    assert [row[:3] for row in _section(page, family)] == expected


def test_the_task(page: str) -> None:
    rows = _section(page, "GenerationTask")
    assert [row[0] for row in rows] == [f"`{item.name}`" for item in msgspec.structs.fields(GenerationTask)]
    assert f"0 to {MAX_PRIORITY}" in {row[0]: row[1] for row in rows}["`priority`"]


def test_the_request(page: str) -> None:
    rows = _section(page, "ChatCompletionRequest")
    assert [row[0] for row in rows] == [f"`{item.name}`" for item in msgspec.structs.fields(ChatCompletionRequest)]
    old = structs_v1.ChatCompletionRequest.__struct_fields__
    assert [row[1] for row in rows] == ["1" if row[0].strip("`") in old else "2" for row in rows]


def test_versions_of_the_wire(page: str, repository: Path) -> None:
    folders = {path.name for path in (repository / "tests" / "golden").glob("v*") if path.is_dir()}
    assert {row[0].strip("`") for row in _section(page, "Versions")} == folders


def test_names(page: str) -> None:
    shown = {row[0]: row[1] for row in _section(page, "Names at the broker")}
    assert shown == {
        "task queue": f"`{task_queue_name('M')}`",
        "task queue of the batch lane": f"`{task_queue_name('M', 'batch')}`",
        "dead-letter queue": f"`{dead_letter_queue_name('M')}`",
        "reply exchange": f"`{REPLY_EXCHANGE}`",
        "routing key of a replica's replies": "`R`",
        "reply queue": "`{}`".format(reply_queue_name("R", 7).replace("7", "E")),
        "control exchange": f"`{CONTROL_EXCHANGE}`",
        "control queue": f"`{control_queue_name('W')}`",
        "routing key of one worker": f"`{worker_control_key('W')}`",
        "routing key of a model's workers": f"`{model_control_key('M')}`",
    }
    assert f"`org/model_1` becomes `{task_queue_name('org/model_1')}`" in page


def test_arguments_of_queues(page: str) -> None:
    arguments = task_queue_arguments("q", QueueKind("classic", (3, 12)))
    assert set(arguments) == set(re.findall(r"^\| task queue \| `(x-[\w-]+)`", page, re.MULTILINE))
    assert f"| task queue | `x-max-priority` | `{arguments['x-max-priority']}` |" in page
    assert f"| task queue | `x-consumer-timeout` | `{arguments['x-consumer-timeout']}`" in page
    quorum = task_queue_arguments("q", QueueKind("quorum"))
    assert set(quorum) == set(re.findall(r"^\| quorum task queue \| `(x-[\w-]+)`", page, re.MULTILINE))
    assert f"| quorum task queue | `x-delivery-limit` | `{quorum['x-delivery-limit']}`" in page
    for name, value in dead_letter_queue_arguments().items():
        assert f"| dead-letter queue | `{name}` | `{value}`" in page


def test_the_header_of_a_dead_letter(page: str) -> None:
    assert f"`{HEADER}`" in page
    assert [row[0] for row in _section(page, "Dead letters")] == [f"`{name}`" for name in DeadLetter.__struct_fields__]
