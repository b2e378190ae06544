"""The names that fields of the schema have in a call for embeddings."""

import re

from headrace.gateway.dialects.openai.errors import to_chat_param

_FIELDS = (
    (re.compile(r"prompts\b.*"), "input"),
    (re.compile(r"embedding\.dimensions"), "dimensions"),
)


def to_embedding_param(path: str) -> str | None:
    """Return the field that a native path stands for; the dialect's own paths stay as they are."""
    for native, own in _FIELDS:
        if native.fullmatch(path):
            return own
    return to_chat_param(path)
