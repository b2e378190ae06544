"""What an engine must do. Everything above this line is the same for vLLM and for the scripted engine."""

from collections.abc import AsyncGenerator, Callable
from typing import Protocol

from msgspec import Struct, field

from headrace.schema.control import ToldSequence
from headrace.schema.events import Event, Usage
from headrace.schema.names import Lane
from headrace.schema.request import ChatCompletionRequest
from headrace.worker.engines.suspension import Suspension


class EngineSetupError(Exception):
    """The engine can't be made from these settings, on this machine; the message tells an operator what to change."""


class EngineDeadError(Exception):
    """The engine is gone for good: its process must end, so that a supervisor starts a new one."""


def count_for_nobody(usage: Usage) -> None:
    """Take what a job has used, and keep it from everybody."""


class EngineJob(Struct, frozen=True, kw_only=True):
    """One generation for an engine.

    Attributes:
        request_id: unique among the jobs that run; logs of the engine carry it.
        worker_id: what `GenerationStarted` says.
        request: what to generate.
        priority: 0 to 9, the higher the sooner.
        lane: every job of the online lane goes before those of the batch lane.
        told: what earlier attempts at this generation told its reader.
        suspension: holds the job where it stands; see `Engine.can_continue`.
        on_cut: is told what the job has used, where it is closed, cancelled or fails: all that came out of the engine
            for it, told or not, and what earlier attempts told, as far as this one has told it again.
    """

    request_id: str
    worker_id: str
    request: ChatCompletionRequest
    priority: int
    told: tuple[ToldSequence, ...] = ()
    lane: Lane = "online"
    suspension: Suspension = field(default_factory=Suspension)
    on_cut: Callable[[Usage], None] = count_for_nobody


class EngineLoad(Struct, frozen=True, kw_only=True):
    """How full an engine is, in tokens of context.

    Attributes:
        kv_tokens_total: what its KV cache holds; 0 where it has none, or does not know.
        kv_tokens_used: how many of them running jobs occupy, as of its last step.
        waiting_tokens: of jobs that it has accepted and not begun to answer.
    """

    kv_tokens_total: int = 0
    kv_tokens_used: int = 0
    waiting_tokens: int = 0


class Engine(Protocol):
    """Turns a request into events.

    An engine is made on the main thread before the process has others (it may fork), and started on the event loop
    that uses it.
    """

    @property
    def slots(self) -> int:
        """Generations that it runs at once; the worker's prefetch. One more waits inside, by priority."""
        ...

    async def start(self) -> None:
        """Finish what needs the event loop, and return when the engine can take a job.

        Raises:
            EngineDeadError: it can't be started.
        """
        ...

    def generate(self, job: EngineJob) -> AsyncGenerator[list[Event], None]:
        """Run a job and yield its events in order, one list for each step that had something for it.

        The first list is `GenerationStarted` alone: the prompt was rendered and accepted, and the job may still wait
        for a slot. Then each sequence starts, grows and finishes; the last event is `GenerationFinished` with the
        usage. A prompt that `output.prompt` asks for is told before its sequences. With `count_only` there are no
        sequences. Text is whole characters. Token ids, log probabilities and reasoning are there only where `output`
        asks for them. `timings` are left to the caller. For a reader that is slower than the engine, steps are merged
        into one list.

        What a response format, or a tool call that must be made, promises of an answer holds unless it ends with
        `length`; what can't be promised is refused before the first list. Ids of tool calls come of the request's id,
        so that a second attempt makes the same ones.

        A job that was told in part (`job.told`) is told again from its start: each of those sequences begins with the
        tokens that were told, says the same text for them, and goes on as it might have gone on; one that is finished
        is not told again, and only counts in the usage. Where that can't be done it fails with `worker_lost`.

        Closing the iterator early, or cancelling the task that reads it, aborts the job in the engine first, and tells
        `job.on_cut` what it has used. Close it (`contextlib.aclosing`) wherever the loop over it may end early: a
        generator that is only dropped is aborted when the garbage collector finds it.

        Raises:
            HeadraceError: this job can't be run or failed (context_length_exceeded, invalid_request,
                unsupported_parameter, engine_error); others go on.
            EngineDeadError: the engine died, or was closed while the job ran.
        """
        ...

    def can_continue(self, request: ChatCompletionRequest) -> bool:
        """Tell whether a job for this request that was told in part goes on faithfully; see `EngineJob.told`.

        Where it says so, `generate` does not fail with `worker_lost` for what this engine itself has told: such a job
        is paused by closing it. Every other job follows its `suspension`, from the moment that it is handed in: while
        that is on, the job leaves every slot and the KV cache to jobs of the online lane, at the latest when its step
        under way has ended, and afterwards it goes on as if nothing had been.
        """
        ...

    def load(self) -> EngineLoad:
        """Return how full the engine is. Costs next to nothing."""
        ...

    async def wait_dead(self) -> None:
        """Return when the engine has died by itself; never after `close`."""
        ...

    async def close(self) -> None:
        """Stop the engine and every process that it started. Jobs still running end with `EngineDeadError`."""
        ...
