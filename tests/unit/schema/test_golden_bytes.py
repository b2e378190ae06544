"""The bytes on the wire are what they were, and are still understood."""

from pathlib import Path

import pytest

from headrace.schema.codec import (
    decode_control,
    decode_replies,
    decode_task,
    encode_control,
    encode_replies,
    encode_task,
)
from tests.golden.values import CONTROLS, REPLIES, TASK

GOLDEN = Path(__file__).parents[2] / "golden" / "v1"


def _golden(name: str) -> bytes:
    return bytes.fromhex((GOLDEN / f"{name}.hex").read_text())


def test_a_task() -> None:
    assert encode_task(TASK) == _golden("task")
    assert decode_task(_golden("task")) == TASK


def test_a_batch_of_replies() -> None:
    assert encode_replies(REPLIES) == _golden("replies")
    assert decode_replies(_golden("replies")) == REPLIES


@pytest.mark.parametrize("index", range(len(CONTROLS)))
def test_a_control_message(index: int) -> None:
    golden = _golden(f"control-{index}")
    assert encode_control(CONTROLS[index]) == golden
    assert decode_control(golden) == CONTROLS[index]
