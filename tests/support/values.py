"""Values that many tests need."""

import itertools
import time

from headrace.schema.messages import Message
from headrace.schema.request import ChatCompletionRequest, GenerationParameters
from headrace.schema.task import GenerationTask

_numbers = itertools.count(1)


def fresh_name(prefix: str) -> str:
    """A name that no other test of this run uses."""
    return f"{prefix}-{time.time_ns()}-{next(_numbers)}"


def make_request(
    model: str = "m", text: str = "Hello", parameters: GenerationParameters | None = None
) -> ChatCompletionRequest:
    return ChatCompletionRequest(
        model=model,
        messages=(Message("user", text),),
        generation_parameters=parameters or GenerationParameters(),
    )


def make_task(
    model: str = "m",
    *,
    request_id: str | None = None,
    reply_address: str = "nowhere",
    priority: int = 5,
    seconds: float = 60.0,
) -> GenerationTask:
    now = time.time()
    return GenerationTask(
        request_id=request_id or fresh_name("gen"),
        reply_address=reply_address,
        submitted_at=now,
        deadline=now + seconds,
        priority=priority,
        request=make_request(model),
    )
