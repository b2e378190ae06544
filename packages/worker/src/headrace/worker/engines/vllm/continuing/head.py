"""How much of a told answer goes into the prompt, and how much is told again token by token: pure functions.

What is in the prompt costs a prefill, which takes a fraction of the time; the rest warms what has state: the decoder of
characters, and the search for stop texts.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Tokens that are always replayed: more than any character has, and any special case of a decoder needs.
LEAST_TAIL = 16

# A sampler with one of these has state that a prompt does not bring back.
_STATEFUL = ("seed", "structured_outputs", "logprobs", "min_tokens")
_PENALTIES = {"presence_penalty": 0.0, "frequency_penalty": 0.0, "repetition_penalty": 1.0}


def has_state(arguments: Mapping[str, Any]) -> bool:
    """Tell whether what follows depends on more of the answer than its tokens.

    Args:
        arguments: of vLLM's `SamplingParams`.
    """
    if any(arguments.get(name) is not None for name in _STATEFUL):
        return True
    return any(arguments.get(name, neutral) != neutral for name, neutral in _PENALTIES.items())


def find_head(pieces: Sequence[str], *, stop: Iterable[str]) -> int:
    """Return how many of the told tokens may go into the prompt: up to a whole character, some way before the end.

    Args:
        pieces: what each told token added to the text; nothing where a character is not whole yet.
        stop: texts that end the answer: one that began before the seam must be found.
    """
    most = len(pieces) - max([LEAST_TAIL, *(len(text) for text in stop)])
    while most > 0 and not pieces[most - 1]:
        most -= 1
    return max(most, 0)
