"""The end of metered generations: the quota gets its real usage, and the ledger its row."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import structs

from headrace.accounts.ledger.base import UsageRow
from headrace.accounts.ledger.entries import Seen
from headrace.accounts.ledger.ledger import UsageLedger
from headrace.accounts.observer import MeteringObserver
from headrace.accounts.prices import PriceTable, answerer_of
from headrace.accounts.quota.base import Amount
from headrace.accounts.quota.quota import Quota
from headrace.scheduler.base import GenerationRecord
from headrace.schema.events import Usage
from headrace.transport.tasks import TaskOwner

SEEN_SECONDS = 1.0
WAIT_SECONDS = 0.25
"""How long the last events of a generation wait for its quota to be settled."""


class Metered(Protocol):
    """A generation that runs."""

    @property
    def request_id(self) -> str:
        """The request."""
        ...

    @property
    def record(self) -> GenerationRecord:
        """What it has used so far."""
        ...


class Settling:
    """Ends generations, each once, in tasks of its own: a client that leaves, or a server that ends, cancels none.

    Args:
        quota: settles.
        ledger: records.
        prices: of this moment.
        observers: are told what was charged.
        clock: Unix seconds.
        seen_seconds: how often the journal is told what has been used so far, in case we die.
    """

    def __init__(
        self,
        quota: Quota,
        ledger: UsageLedger,
        prices: PriceTable,
        *,
        observers: Sequence[MeteringObserver] = (),
        clock: Callable[[], float] = time.time,
        seen_seconds: float = SEEN_SECONDS,
    ) -> None:
        self._quota = quota
        self._ledger = ledger
        self._prices = prices
        self._observers = observers
        self._clock = clock
        self._seen_seconds = seen_seconds
        self._running: dict[str, Metered] = {}
        self._seen: dict[str, GenerationRecord] = {}
        self._tasks = TaskOwner()
        self._watch = TaskOwner()

    @property
    def now(self) -> float:
        """Unix seconds."""
        return self._clock()

    def start(self) -> None:
        """Begin to note what has been used."""
        self._watch.start(self._see_for_ever(), name="usage seen")

    def begin(self, generation: Metered) -> None:
        """Note what a generation uses from now on, until it is ended."""
        self._running[generation.request_id] = generation

    async def give_back(self, request_id: str) -> None:
        """End a reservation whose generation was not accepted."""
        self._ledger.drop(request_id)
        await self._quota.settle(request_id, Amount())

    def end(self, row: UsageRow, *, recorded: bool) -> "asyncio.Task[None]":
        """End a generation: its row is taken at once, its quota settled by the task.

        Args:
            row: what it was, without its cost.
            recorded: whether it has a row in the ledger; one that is not counted costs nothing either.
        """
        request_id = row.request_id
        self._running.pop(request_id, None)
        self._seen.pop(request_id, None)
        usage = row.usage if recorded else Usage(0, 0)
        cost = self._cost(row, usage)
        if recorded:
            self._ledger.close_row(structs.replace(row, cost_micros=cost))
            for observer in self._observers:
                observer.generation_settled(row.model, usage)
        used = Amount(usage.input_tokens + usage.output_tokens, cost)
        return self._tasks.start(self._quota.settle(request_id, used), name=f"settle {request_id}")

    async def recover(self, owner: str, rows: Sequence[UsageRow]) -> list[UsageRow]:
        """Settle what a dead replica ran, and return its rows with their cost."""
        priced = [structs.replace(row, cost_micros=self._cost(row, row.usage)) for row in rows]
        ends = [
            (row.tenant_id, row.request_id, Amount(row.input_tokens + row.output_tokens, row.cost_micros))
            for row in priced
        ]
        if ends:
            await self._quota.settle_for(owner, ends)
        return priced

    def _cost(self, row: UsageRow, usage: Usage) -> int:
        return self._prices.cost(row.model, usage, answered_by=answerer_of(route=row.route, target=row.target))

    async def close(self) -> None:
        """Wait for what is being settled, and stop."""
        await self._watch.close()
        await self._tasks.join()

    async def _see_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._seen_seconds)
            self.see_running()

    def see_running(self) -> None:
        """Tell the journal what has been used since it was last told."""
        for generation in self._running.values():
            self.see(generation)

    def see(self, generation: Metered) -> None:
        """Tell the journal what a generation has used, unless it knows."""
        request_id, record = generation.request_id, generation.record
        if self._seen.get(request_id) == record:
            return
        self._seen[request_id] = record
        self._ledger.see(
            Seen(
                request_id=request_id,
                at=round(self._clock() * 1000),
                usage=record.usage,
                route=record.route,
                target=record.target,
                attempts=record.attempts,
                task_id=record.task_id,
            )
        )
