"""The names that fields of the schema have in a completion."""

import re

from headrace.gateway.dialects.openai.errors import to_chat_param

_FIELDS = (
    (re.compile(r"prompts\b.*"), "prompt"),
    (re.compile(r"output\.(top_)?logprobs"), "logprobs"),
    (re.compile(r"output\.prompt"), "echo"),
)


def to_completion_param(path: str) -> str | None:
    """Return the field of a completion that a native path stands for; the dialect's own paths stay as they are."""
    for native, own in _FIELDS:
        if native.fullmatch(path):
            return own
    return to_chat_param(path)
