# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""Forcing told tokens in vLLM's second model runner, on tensors of the CPU: its own GPU kernels are not part of it."""

from types import SimpleNamespace
from typing import Any

import pytest

from headrace.worker.engines.vllm.continuing.names import REPLAY_ARGUMENT

pytestmark = [
    pytest.mark.engine,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
]
VOCABULARY = 7
PROMPT_LENGTHS = [4, 0, 9, 2]


def make_processor() -> Any:
    import numpy as np
    import torch

    from headrace.worker.engines.vllm.continuing.forced_rows import ForcedRows

    states: Any = SimpleNamespace(device=torch.device("cpu"), prompt_len=SimpleNamespace(np=np.array(PROMPT_LENGTHS)))
    return ForcedRows(None, states)


def parameters(told: list[int] | None) -> Any:
    return SimpleNamespace(extra_args=None if told is None else {REPLAY_ARGUMENT: told})


def step(processor: Any, *, slots: list[int], rows: list[int], positions: list[int]) -> list[int | None]:
    """Return, for each row, the only token that is left possible; None where all are."""
    import numpy as np
    import torch

    logits = torch.arange(len(rows) * VOCABULARY, dtype=torch.float32).reshape(len(rows), VOCABULARY)
    before = logits.clone()
    context: Any = SimpleNamespace(
        expanded_idx_mapping=torch.tensor(rows), idx_mapping_np=np.array(slots), pos=torch.tensor(positions)
    )
    after = processor.apply(logits, context)
    forced: list[int | None] = []
    for row in range(len(rows)):
        possible: list[int] = torch.isfinite(after[row]).nonzero().flatten().tolist()
        if len(possible) == 1:
            forced.append(possible[0])
        else:
            assert torch.equal(after[row], before[row])
            forced.append(None)
    return forced


def test_each_row_is_forced_to_what_is_known_of_its_own_answer_and_then_free() -> None:
    processor = make_processor()
    assert processor.add_request(0, parameters([5, 6]))
    assert not processor.add_request(2, parameters(None))
    assert processor.add_request(3, parameters([1]))
    # The first token of an answer is sampled at the last position of its prompt.
    assert step(processor, slots=[2, 0, 3], rows=[2, 0, 3], positions=[8, 3, 1]) == [None, 5, 1]
    assert step(processor, slots=[0, 3, 2], rows=[0, 3, 2], positions=[4, 2, 9]) == [6, None, None]
    assert step(processor, slots=[3, 0], rows=[3, 0], positions=[3, 5]) == [None, None]


def test_a_slot_that_is_taken_again_forgets() -> None:
    processor = make_processor()
    processor.add_request(0, parameters([5, 6]))
    processor.add_request(0, parameters(None))
    assert step(processor, slots=[0], rows=[0], positions=[3]) == [None]


def test_a_request_with_several_rows_is_forced_in_each() -> None:
    processor = make_processor()
    processor.add_request(0, parameters([5, 6]))
    assert step(processor, slots=[2, 0], rows=[2, 0, 0, 0], positions=[8, 3, 4, 5]) == [None, 5, 6, None]
