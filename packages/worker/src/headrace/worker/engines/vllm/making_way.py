"""Which request of the batch lane gives its slot up for one of the online lane, inside the engine.

The gate before the engine counts generations. One that has several sequences takes more slots than that, and what can't
be replayed can't be taken out and told again. vLLM orders by priority who waits, but leaves alone who has a slot; and
where the KV cache is full, a new request waits for whoever runs. So before each step its scheduler asks here. What is
taken back goes on later exactly where it stood: vLLM keeps its tokens, its sampler's state and its grammar.

What begins in a step costs the others in it more than what goes on: a prompt, or the part of it that the prefix cache
does not hold, against one token. And for a beam search each step is a beginning. So where an online request begins,
nothing of the batch lane begins beside it.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from headrace.schema.task import MAX_PRIORITY


class Standing(Protocol):
    """A request in vLLM's scheduler."""

    @property
    def priority(self) -> int:
        """Of vLLM, as `engine_priority` makes it: the lower goes first."""
        ...

    @property
    def arrival_time(self) -> float:
        """Unix seconds."""
        ...

    @property
    def num_tokens(self) -> int:
        """Prompt, and what was said of the answer."""
        ...


R = TypeVar("R", bound=Standing)


def is_online(request: Standing) -> bool:
    """Tell whether a request is of the online lane."""
    return request.priority <= MAX_PRIORITY


def choose_victim(
    line: Sequence[R], running: Sequence[R], *, free_slots: int, free_blocks: int, block_tokens: int
) -> R | None:
    """Return who gives its slot up next: the lowest priority first, then the youngest. None where nobody has to.

    Args:
        line: requests of the online lane that wait and could begin, the first first.
        running: who has a slot.
        free_slots: slots that nobody has.
        free_blocks: blocks of the KV cache that nobody needs.
        block_tokens: tokens that a block holds.
    """
    batch = [each for each in running if not is_online(each)]
    coming = line[: max(0, free_slots) + len(batch)]
    needed_blocks = sum(each.num_tokens // block_tokens + 1 for each in coming)
    if not batch or (len(coming) <= free_slots and needed_blocks <= free_blocks):
        return None
    return max(batch, key=lambda each: (each.priority, each.arrival_time))


class BatchRest:
    """Tells in which steps nothing of the batch lane begins: where an online request does, but never twice in a row.

    So batch work has every second step at least, however many online requests come.
    """

    def __init__(self) -> None:
        self._rested = False

    def slots(self, slots: int, *, taken: int, beginning: int) -> int:
        """Return how many slots the step that is planned now may fill; online requests fill them first.

        Args:
            slots: that there are.
            taken: by requests that go on.
            beginning: requests of the online lane that wait and could begin.
        """
        self._rested = beginning > 0 and not self._rested
        return min(slots, taken + beginning) if self._rested else slots
