"""The prompts of a request as the scripted engine sees them: words, with made-up token ids."""

import hashlib
import math
import struct
from collections.abc import Sequence

from msgspec import Struct

from headrace.schema.events import PromptEchoed, PromptEmbedded
from headrace.schema.messages import Message, ToolResultPart
from headrace.schema.request import ChatCompletionRequest, Prompt
from headrace.worker.engines.scripted.tokens import make_logprob, make_token_id, spell_token, split_prompt

DIMENSIONS = 64


class ScriptedPrompt(Struct, frozen=True):
    """One prompt.

    Attributes:
        question: what rules of the script are matched with.
        texts: its tokens.
        token_ids: their ids.
    """

    question: str
    texts: tuple[str, ...]
    token_ids: tuple[int, ...]

    def echo(self, index: int, *, top: int | None) -> PromptEchoed:
        """Return it as an event; `top` is how many alternatives each token has, None leaves log probabilities out."""
        logprobs = None if top is None else [None if i == 0 else make_logprob(t, top) for i, t in enumerate(self.texts)]
        return PromptEchoed(index, "".join(self.texts), self.token_ids, None if logprobs is None else tuple(logprobs))

    def embed(self, index: int, *, dimensions: int | None) -> PromptEmbedded:
        """Return a vector of length 1 that depends on the tokens alone."""
        seed = struct.pack(f"<{len(self.token_ids)}I", *self.token_ids)
        count = dimensions or DIMENSIONS
        # Halves, so that none of them is 0.
        numbers = [
            number - 32767.5 for number in struct.unpack(f"<{count}H", hashlib.shake_128(seed).digest(2 * count))
        ]
        length = math.hypot(*numbers)
        return PromptEmbedded(index, struct.pack(f"<{count}f", *(number / length for number in numbers)))


def read_prompts(request: ChatCompletionRequest) -> tuple[ScriptedPrompt, ...]:
    """Return the prompts of a request: its own, or the one that its messages make."""
    if request.prompts:
        return tuple(_read_raw(prompt) for prompt in request.prompts)
    text = "\n".join(_to_text(message) for message in request.messages)
    return (_read_text(text, question=_last_question(request.messages)),)


def _last_question(messages: Sequence[Message]) -> str:
    last = next((message for message in reversed(messages) if message.role == "user"), messages[-1])
    return last.to_text()


def _to_text(message: Message) -> str:
    results = [part.to_text() for part in message.parts if isinstance(part, ToolResultPart)]
    return "\n".join([message.to_text(), *results])


def _read_raw(prompt: Prompt) -> ScriptedPrompt:
    if isinstance(prompt, str):
        return _read_text(prompt, question=prompt)
    texts = tuple(spell_token(token_id) for token_id in prompt)
    return ScriptedPrompt("".join(texts), texts, prompt)


def _read_text(text: str, *, question: str) -> ScriptedPrompt:
    texts = split_prompt(text)
    return ScriptedPrompt(question, texts, tuple(make_token_id(token) for token in texts))
