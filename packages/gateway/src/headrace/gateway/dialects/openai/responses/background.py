"""Responses that go on while nobody waits for them, until they are fetched."""

from collections.abc import Sequence

from headrace.gateway.call import Call, Submits
from headrace.gateway.detached import DetachedGenerations
from headrace.gateway.dialects.openai.responses.fold import ResponseFold
from headrace.gateway.dialects.openai.responses.identity import to_request_id
from headrace.gateway.dialects.openai.responses.keeping import Keeper
from headrace.gateway.dialects.openai.responses.store import StoredResponse
from headrace.gateway.retained.reader import OpenedSource, RetainedReader
from headrace.schema.events import Event


class BackgroundRun:
    """A response that is made; reads its generation.

    Args:
        fold: makes it.
        keeper: keeps it.
        runs: those that run, this one among them.
        retained: reads the generation, if it is retained: then it has an end only if that one has.
    """

    def __init__(
        self, fold: ResponseFold, keeper: Keeper, runs: "dict[str, BackgroundRun]", retained: RetainedReader | None
    ) -> None:
        self._fold = fold
        self._keeper = keeper
        self._runs = runs
        self._retained = retained

    def to_record(self) -> StoredResponse:
        """Return the response as it stands."""
        return self._keeper.to_record(self._fold.snapshot())

    def receive(self, events: Sequence[Event]) -> None:
        """Take the next events."""
        self._fold.add_all(events)

    async def close(self) -> None:
        """Keep what there is: the whole response, or as much as came before it was given up."""
        if self._retained is None:
            await self._keeper.keep(self._fold.cancel())
        elif self._retained.has_ended:
            await self._keeper.replace(self._fold.cancel())
        # Else another gateway goes on with it.
        self._runs.pop(self._fold.created.id, None)


class BackgroundRuns:
    """The responses that run.

    Args:
        detached: owns their generations.
    """

    def __init__(self, detached: DetachedGenerations) -> None:
        self._detached = detached
        self._runs: dict[str, BackgroundRun] = {}

    async def start(self, call: Call, source: Submits, fold: ResponseFold, keeper: Keeper) -> StoredResponse:
        """Start one, and return it as it stands.

        Raises:
            CallFailedError: it is not accepted.
        """
        retained = source.reader if isinstance(source, OpenedSource) else None
        if retained is not None:
            await keeper.begin(fold.created)
        run = BackgroundRun(fold, keeper, self._runs, retained)
        await self._detached.start(call, run, source)
        self._runs[fold.created.id] = run
        return run.to_record()

    def find(self, response_id: str) -> StoredResponse | None:
        """Return one as it stands, or None if it does not run."""
        run = self._runs.get(response_id)
        return None if run is None else run.to_record()

    async def cancel(self, response_id: str) -> bool:
        """Cancel one and wait until it is kept; tell whether it ran."""
        if response_id not in self._runs:
            return False
        await self._detached.cancel(to_request_id(response_id))
        return True
