"""Completions for the tests of that dialect: bodies, renderings, and what OpenAI's own types say of the answers."""

import copy
from collections.abc import Sequence
from typing import Any

import msgspec
import openai.types
import pytest

from headrace.gateway.answer import AnswerFold
from headrace.gateway.dialects.base import ParsedCall
from headrace.gateway.dialects.openai.completions.parse import CompletionParser
from headrace.gateway.dialects.openai.completions.stream import CompletionRendering
from headrace.gateway.failure import Failure, failure_of_error
from headrace.scheduler.base import Submission
from headrace.schema.errors import HeadraceError
from headrace.schema.events import Event, TokenLogprob
from headrace.schema.request import ChatCompletionRequest

LEAST: dict[str, Any] = {"model": "m", "prompt": "Once"}


def parse_call(change: dict[str, Any]) -> ParsedCall:
    return CompletionParser().parse(msgspec.json.encode(LEAST | change))


def parse(change: dict[str, Any]) -> ChatCompletionRequest:
    return parse_call(change).request


def refuse(body: dict[str, Any] | bytes) -> Failure:
    with pytest.raises(HeadraceError) as raised:
        CompletionParser().parse(body if isinstance(body, bytes) else msgspec.json.encode(body))
    return failure_of_error(raised.value)


def make(**change: Any) -> CompletionRendering:
    """Return what writes the answer to a body."""
    call = parse_call(change)
    rendering = call.rendering(Submission(request_id="gen_1", request=call.request))
    assert isinstance(rendering, CompletionRendering)
    return rendering


def token(text: str, logprob: float = -0.5, *top: TokenLogprob) -> TokenLogprob:
    return TokenLogprob(1, text, logprob, text.encode(), top)


def whole(events: Sequence[Event], **change: Any) -> dict[str, Any]:
    """Return a whole answer, held to OpenAI's type."""
    fold = AnswerFold()
    fold.add(events)
    answer = msgspec.json.decode(make(**change).render_answer(fold.answer()))
    check_types(answer)
    return answer


def frames(batches: Sequence[Sequence[Event]], **change: Any) -> list[dict[str, Any]]:
    """Return the frames of a stream that ends well, each held to OpenAI's type."""
    rendering = make(stream=True, **change)
    text = b"".join(rendering.render_events(batch) for batch in batches).decode()
    # As the laxest of clients reads lines.
    *found, done = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    assert done == "[DONE]"
    decoded = [msgspec.json.decode(frame) for frame in found]
    for frame in decoded:
        check_types(frame)
    return decoded


def check_types(answer: dict[str, Any]) -> None:
    """Hold an answer to OpenAI's type, but for what OpenAI itself sends and its type does not say.

    That is null for the finish reason of a choice that goes on, and for the first token of an echoed prompt.
    """
    answer = copy.deepcopy(answer)
    for choice in answer["choices"]:
        choice["finish_reason"] = choice["finish_reason"] or "stop"
        if (logprobs := choice["logprobs"]) is not None and logprobs["token_logprobs"][:1] == [None]:
            logprobs["token_logprobs"][0], logprobs["top_logprobs"][0] = 0.0, {}
    openai.types.Completion.model_validate(answer, strict=True)


def fold_frames(found: Sequence[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Return what a client has that adds frames up: the choices, by index."""
    choices: dict[int, dict[str, Any]] = {}
    for frame in found:
        for grown in frame["choices"]:
            choice = choices.setdefault(grown["index"], {"index": grown["index"], "text": "", "logprobs": None})
            choice["text"] += grown["text"]
            choice["finish_reason"] = grown["finish_reason"]
            if (logprobs := grown["logprobs"]) is not None:
                so_far: dict[str, list[Any]] = choice["logprobs"] or {}
                choice["logprobs"] = {name: so_far.get(name, []) + items for name, items in logprobs.items()}
            for name in {"token_ids", "prompt_token_ids"} & grown.keys():
                choice[name] = choice.get(name, []) + grown[name]
    return choices
