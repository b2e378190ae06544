"""The task that travels to a worker: a request wrapped with all that the way there and back needs."""

from typing import Annotated

from msgspec import Meta, Struct

from headrace.schema.names import Lane, task_queue_name
from headrace.schema.payload import PayloadRef
from headrace.schema.request import ChatCompletionRequest

MAX_PRIORITY = 9

Priority = Annotated[int, Meta(ge=0, le=MAX_PRIORITY)]


class GenerationTask(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request on its way to a worker.

    Attributes:
        request_id: unique for ever; redelivery is recognised by it.
        reply_address: the reply queue of the scheduler replica that waits for the chunks.
        submitted_at: when the scheduler took it, Unix seconds.
        deadline: when it is worth nothing any more, Unix seconds.
        priority: 0 to 9, the higher the sooner.
        request: what to generate.
        deployment: the model whose workers run it, where that is not `request.model`: an adapter has no workers of its
            own.
        payload: where the whole request lies, if it is too large for the broker; `request` then lacks its messages,
            prompts, tools and response format.
        is_repeat: it was published before, and may have arrived: ask the scheduler before it is run.
        lane: which of the model's two queues it travels through.
        tenant: whose it is; empty where there are no accounts.
        retained: it goes on when nobody reads it, since somebody may take it up again.
        ask_after: from this instant on, Unix seconds, there may be copies of it, so whoever picks it up later asks the
            scheduler first; 0 is never.
        copy: 0, or which copy this is of a task that waited for long. A copy asks the scheduler first.
    """

    request_id: str
    reply_address: str
    submitted_at: float
    deadline: float
    request: ChatCompletionRequest
    priority: Priority = 5
    deployment: str = ""
    is_repeat: bool = False
    payload: PayloadRef | None = None
    lane: Lane = "online"
    tenant: str = ""
    retained: bool = False
    ask_after: float = 0.0
    copy: int = 0

    @property
    def queue(self) -> str:
        """The task queue that it travels through."""
        return task_queue_name(self.deployment or self.request.model, self.lane)
