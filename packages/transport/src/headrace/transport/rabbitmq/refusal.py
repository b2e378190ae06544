"""What to do where the broker has a queue of our name with other arguments than ours, in words for an operator."""

import re

from pika.exceptions import ChannelClosed

PRECONDITION_FAILED = 406
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
        queue, argument = found["queue"], found["argument"]
        seen = f"the queue {queue} exists with {argument} = {_plain(found['theirs'])}, not {_plain(found['ours'])}"
        return f"{seen}: {_what_to_do(argument, queue)}"
    if found := _INVALID_ARGUMENT.search(text):
        queue, argument = found["queue"], found["argument"]
        return f"the broker refuses {argument} for the queue {queue}: {_what_to_do(argument, queue)}"
    return None


def _plain(value: str) -> str:
    return value.strip().removeprefix("the value ").partition(" of type ")[0].strip("'")


def _what_to_do(argument: str, queue: str) -> str:
    delete = f"let it run empty, delete it (rabbitmqctl delete_queue {queue}), and it is made again"
    if argument == "x-queue-type":
        return f"set broker.queue_type to what it is; or {delete}"
    return f"it was made by another version or by hand, or for another broker.queue_type; {delete}"
