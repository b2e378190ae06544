"""What to do where the broker has a queue of our name with other arguments than ours, in words for an operator."""

import re

from pika.exceptions import ChannelClosed

PRECONDITION_FAILED = 406
NONE = "none"
# The broker looks at these before it looks at the type.
_OF_ONE_TYPE = ("x-max-priority", "x-delivery-limit", "x-consumer-timeout")
_OTHER_ARGUMENTS = re.compile(
    r"inequivalent arg '(?P<argument>[^']+)' for queue '(?P<queue>[^']+)'.*?"
    r"received (?P<ours>.+?) but current is (?P<theirs>.+)",
    re.DOTALL,
)
_INVALID_ARGUMENT = re.compile(r"invalid arg '(?P<argument>[^']+)' for queue '(?P<queue>[^']+)'")


def explain_refusal(error: object) -> str | None:
    """Return what is wrong and what to do, or None where the channel was closed for another reason."""
    if not isinstance(error, ChannelClosed) or error.reply_code != PRECONDITION_FAILED:
        return None
    text = str(error.reply_text)
    if found := _OTHER_ARGUMENTS.search(text):
        queue, argument, theirs, ours = (
            found["queue"],
            found["argument"],
            _plain(found["theirs"]),
            _plain(found["ours"]),
        )
        is_of_type = argument == "x-queue-type" or (argument in _OF_ONE_TYPE and NONE in (theirs, ours))
        return f"the queue {queue} exists with {argument} = {theirs}, not {ours}: {_what_to_do(queue, is_of_type)}"
    if found := _INVALID_ARGUMENT.search(text):
        queue, argument = found["queue"], found["argument"]
        return f"the broker refuses {argument} for the queue {queue}: {_what_to_do(queue, argument in _OF_ONE_TYPE)}"
    return None


def _plain(value: str) -> str:
    return value.strip().removeprefix("the value ").partition(" of type ")[0].strip("'")


def _what_to_do(queue: str, is_of_type: bool) -> str:  # noqa: FBT001 - a claim
    delete = f"let it run empty, delete it (rabbitmqctl delete_queue {queue}), and it is made again"
    if is_of_type:
        return f"set broker.queue_type to what it is (rabbitmqctl list_queues name type); or {delete}"
    return f"it was made by another version or by hand, and broker.queue_type is not the reason; {delete}"
