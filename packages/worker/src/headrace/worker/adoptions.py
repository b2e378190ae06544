"""Where the replies of a generation go whose scheduler is gone.

A task carries the address of the scheduler that published it. Where that one died, another adopts the generation and
says so to every worker of the model, also to those that have not been handed the task yet. An address is remembered
until the task's deadline, when it is worthless.
"""

from collections import OrderedDict
from collections.abc import Callable

from headrace.schema.control import AdoptGeneration
from headrace.schema.task import GenerationTask

MOST_ADOPTIONS = 100_000


class Adoptions:
    """A bounded map from request ids to reply addresses.

    Args:
        clock: Unix seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._adoptions: OrderedDict[str, AdoptGeneration] = OrderedDict()

    def __len__(self) -> int:
        return len(self._adoptions)

    def note(self, adoption: AdoptGeneration) -> bool:
        """Remember an adoption, the oldest are forgotten first; tell whether it is news."""
        now = self._clock()
        while self._adoptions:
            oldest = next(iter(self._adoptions.values()))
            if len(self._adoptions) < MOST_ADOPTIONS and oldest.deadline > now:
                break
            self._adoptions.popitem(last=False)
        known = self._adoptions.get(adoption.request_id)
        self._adoptions[adoption.request_id] = adoption
        return known is None or known.reply_address != adoption.reply_address

    def address_of(self, task: GenerationTask) -> str:
        """Return where everything about a task goes now."""
        adoption = self._adoptions.get(task.request_id)
        return task.reply_address if adoption is None else adoption.reply_address
