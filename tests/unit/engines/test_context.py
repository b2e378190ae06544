import pytest

from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.worker.engines.context import output_budget


def test_what_fits_is_granted() -> None:
    assert output_budget(input_tokens=10, max_tokens=5, max_model_tokens=15) == 5
    assert output_budget(input_tokens=10, max_tokens=None, max_model_tokens=15) == 5


def test_too_many_tokens_asked_for() -> None:
    with pytest.raises(HeadraceError) as caught:
        output_budget(input_tokens=10, max_tokens=6, max_model_tokens=15)
    assert caught.value.code is ErrorCode.CONTEXT_LENGTH_EXCEEDED
    assert "10 tokens" in caught.value.message
    assert "6 more, together 16" in caught.value.message
    assert "15 tokens" in caught.value.message


@pytest.mark.parametrize("max_tokens", [None, 1])
def test_a_prompt_that_leaves_no_room(max_tokens: int | None) -> None:
    with pytest.raises(HeadraceError) as caught:
        output_budget(input_tokens=15, max_tokens=max_tokens, max_model_tokens=15)
    assert caught.value.param == "messages"
