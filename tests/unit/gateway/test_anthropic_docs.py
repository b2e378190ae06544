"""The page of the dialect lists each field where the code has it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
from anthropic.types import Message, MessageDeltaUsage, RawMessageDeltaEvent, Usage
from anthropic.types.message_count_tokens_params import MessageCountTokensParams
from anthropic.types.message_create_params import MessageCreateParamsBase
from anthropic.types.tool_param import ToolParam as SdkToolParam
from msgspec import Struct

from headrace.gateway.dialects.anthropic import answers, errors, wire
from headrace.gateway.dialects.anthropic.content import ContentBlock
from tests.unit.gateway.test_dialect_docs import fields_of, names_in

IN_HEADERS = {"user_profile_id", "workspace_id"}


@pytest.fixture
def page(repository: Path) -> Path:
    return repository / "docs" / "dialects" / "anthropic.md"


def tags_of(kinds: Any) -> set[Any]:
    return {kind.__struct_config__.tag for kind in kinds}


def test_fields(page: Path) -> None:
    assert names_in(page, "Supported") == fields_of(wire.MessagesBody)
    assert names_in(page, "Ignored") == wire.IGNORED_FIELDS
    assert names_in(page, "Refused") == set(wire.UNSUPPORTED_FIELDS)
    assert names_in(page, "Tools") == fields_of(wire.ToolParam)


def test_blocks_and_frames(page: Path) -> None:
    assert names_in(page, "Messages") == tags_of(get_args(ContentBlock))
    assert names_in(page, "Streams") == tags_of(answers.FRAMES)
    assert names_in(page, "Answers") == set(get_args(answers.StopReason))


def test_error_types(page: Path) -> None:
    types = {*errors.TYPES.values(), "api_error", "invalid_request_error"}
    assert names_in(page, "Errors") == types


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(wire.MessagesBody, MessageCreateParamsBase), (wire.CountTokensBody, MessageCountTokensParams)],
)
def test_the_sdk_sends_nothing_that_we_have_not_heard_of(ours: type[Struct], theirs: Any) -> None:
    known = fields_of(ours) | wire.IGNORED_FIELDS | wire.UNSUPPORTED_FIELDS.keys() | IN_HEADERS
    assert set(theirs.__annotations__) <= known


def test_tools_have_all_fields_of_the_sdk() -> None:
    assert set(SdkToolParam.__annotations__) == fields_of(wire.ToolParam)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (answers.MessageAnswer, Message),
        (answers.MessageUsage, Usage),
        (answers.DeltaUsage, MessageDeltaUsage),
        (answers.StopDelta, RawMessageDeltaEvent.model_fields["delta"].annotation),
    ],
)
def test_answers_have_all_fields_of_the_sdk(ours: type[Struct], theirs: Any) -> None:
    fields: Mapping[str, Any] = theirs.model_fields
    assert fields_of(ours) == set(fields) - {"type"}
