"""Queue names are safe and never shared."""

import re

from dramatiq.common import q_name
from hypothesis import given
from hypothesis import strategies as st

from headrace.schema.names import dead_letter_queue_name, task_queue_name

_models = st.text(min_size=1, max_size=40)


@given(_models)
def test_a_queue_name_is_one_that_dramatiq_takes(model: str) -> None:
    name = task_queue_name(model)
    assert re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9._-]*", name)
    assert q_name(name) == name


@given(_models, _models)
def test_two_models_never_share_a_queue(one: str, other: str) -> None:
    assert (task_queue_name(one) == task_queue_name(other)) == (one == other)


def test_a_name_with_a_slash_and_a_colon() -> None:
    assert task_queue_name("org/Model_7b:v1.DQ") == "headrace.org_2fModel_5f7b_3av1.DQ.tasks"
    assert dead_letter_queue_name("m") == "headrace.m.tasks.XQ"
