"""OpenAI's completions under the suite."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from headrace.gateway.dialects.base import Rendering
from headrace.gateway.dialects.openai.completions.errors import to_completion_param
from headrace.gateway.dialects.openai.completions.parse import CompletionParser
from headrace.gateway.dialects.openai.errors import OpenAIDialect
from headrace.schema.events import FinishReason
from tests.contract.dialects.base import MODEL, Frame, Told, ToldSequence, open_rendering
from tests.contract.dialects.openai_chat import DONE
from tests.contract.dialects.scripts import ECHOED, Feature, Script

_LISTS = ("tokens", "token_logprobs", "top_logprobs", "text_offset")


class OpenAICompletionsAdapter:
    """`/v1/completions`."""

    name = "openai completions"
    features = frozenset[Feature]({"n", "logprobs", "stop", "echo"})
    signs = frozenset[str]()
    ends: Mapping[FinishReason, str] = {"stop": "stop", "length": "length", "content_filter": "content_filter"}
    dialect = OpenAIDialect(to_completion_param)

    def __init__(self) -> None:
        self._parser = CompletionParser()

    def open(self, script: Script, *, stream: bool) -> Rendering:
        features = script.features
        body = {
            "model": MODEL,
            "prompt": ECHOED,
            "stream": stream,
            "n": 3 if "n" in features else 1,
            "echo": "echo" in features,
            **({"stream_options": {"include_usage": True}} if stream else {}),
            **({"logprobs": 2} if features & {"logprobs", "echo"} else {}),
            **({"stop": "END"} if "stop" in features else {}),
        }
        return open_rendering(self._parser.parse(msgspec.json.encode(body)), stream=stream)

    def can_stream(self, script: Script) -> bool:
        return True

    def is_terminal(self, frame: Frame) -> bool:
        return frame.data == DONE or "error" in frame.read()

    def read_frames(self, frames: Sequence[Frame]) -> Told:
        *chunks, usage, done = frames
        assert done.data == DONE
        assert usage.read()["choices"] == []
        said: dict[int, dict[str, Any]] = {}
        for body in (chunk.read() for chunk in chunks):
            assert body["usage"] is None
            for choice in body["choices"]:
                _grow(said.setdefault(choice["index"], {"text": "", "logprobs": None, "finish_reason": None}), choice)
        return _to_told(said, usage.read()["usage"])

    def read_whole(self, body: dict[str, Any]) -> Told:
        return _to_told({choice["index"]: choice for choice in body["choices"]}, body["usage"])

    def read_tokens(self, usage: dict[str, Any]) -> tuple[int, int]:
        return usage["prompt_tokens"], usage["completion_tokens"]

    def read_failure(self, frames: Sequence[Frame]) -> str:
        return self.read_error(frames[-1].read())

    def read_error(self, body: dict[str, Any]) -> str:
        assert set(body["error"]) == {"message", "type", "param", "code"}
        return body["error"]["message"]


def _grow(said: dict[str, Any], choice: dict[str, Any]) -> None:
    assert said["finish_reason"] is None, "something after the end"
    said["finish_reason"] = choice["finish_reason"]
    said["text"] += choice["text"]
    if (grown := choice["logprobs"]) is not None:
        known = said["logprobs"] or dict.fromkeys(_LISTS, ())
        said["logprobs"] = {name: [*known[name], *grown[name]] for name in _LISTS}


def _to_told(choices: dict[int, dict[str, Any]], usage: dict[str, Any]) -> Told:
    echoed = all(choice["text"].startswith(ECHOED) for choice in choices.values())
    sequences = {
        index: ToldSequence(
            text=choice["text"].removeprefix(ECHOED),
            end=choice["finish_reason"],
            logprobs=_read_logprobs(choice),
        )
        for index, choice in choices.items()
    }
    return Told(sequences=sequences, usage=usage, prompts=(ECHOED,) if echoed else ())


def _read_logprobs(choice: dict[str, Any]) -> tuple[float | None, ...]:
    if (lists := choice["logprobs"]) is None:
        return ()
    for token, offset in zip(lists["tokens"], lists["text_offset"], strict=True):
        assert choice["text"][offset:].startswith(token)
    return tuple(lists["token_logprobs"])
