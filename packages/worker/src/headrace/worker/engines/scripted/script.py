"""The script: what the scripted engine answers to what, how fast, and when it breaks."""

import tomllib
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from headrace.worker.engines.extensions import explain_mismatch

Fault = Literal["error", "dead", "hang"]
Pause = Annotated[float, Meta(ge=0.0, le=86400.0)]
Count = Annotated[int, Meta(ge=0, le=10_000_000)]

DEMO_TEXTS = (
    "This is the scripted engine. It plays back a text that was written beforehand, one word at a time, so everything "
    "around it (the gateway, the queue, the worker, this very stream) is real and only the model is missing. To talk "
    "to a model, start Headrace with the vLLM engine. ✨",
    "Hello from the scripted engine! No model is running here: these words come from a script. They do travel the "
    "whole way that a model's answer would, through the worker, the broker and the gateway. Write a script of your own "
    "and this answer becomes whatever you like. ✨",
    "You are looking at a scripted answer. It costs no GPU and nearly no CPU, and it is the same every time that you "
    "ask with the same seed, which is just what tests, demos and load measurements want. For an answer with a thought "
    "in it, choose the vLLM engine. ✨",
)


class ScriptError(ValueError):
    """A script that can't be played; the message names the field."""


class ScriptedCall(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A call of a tool.

    Attributes:
        name: the tool; a call is played only where the request has this tool and allows it.
        arguments: a table, or JSON as a text.
    """

    name: str
    arguments: str | dict[str, Any] = {}

    def to_json(self) -> str:
        """Return the arguments as a model would write them."""
        return self.arguments if isinstance(self.arguments, str) else msgspec.json.encode(self.arguments).decode()


class Answer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to answer.

    Attributes:
        text: what to say, split into tokens at words; of several texts the seed chooses one.
        tokens: say this many generated words instead.
        reasoning: what to think before that.
        tool_calls: what to call after that; without a text, nothing is said beside the calls.
        first_token_seconds: wait this long, in the slot, before the first token.
        step_seconds: pause between tokens, where it should be longer than the engine's own step.
        fault: `error` fails this job, `dead` kills the engine, `hang` stops the tokens until the job is aborted.
        fault_after_tokens: tokens of each sequence that come before the fault.
    """

    text: str | tuple[str, ...] | None = None
    tokens: Count | None = None
    reasoning: str = ""
    tool_calls: tuple[ScriptedCall, ...] = ()
    first_token_seconds: Pause = 0.0
    step_seconds: Pause = 0.0
    fault: Fault | None = None
    fault_after_tokens: Count = 0

    def __post_init__(self) -> None:
        if self.text is not None and self.tokens is not None:
            raise ValueError("give either text or tokens, not both")
        if self.text == ():
            raise ValueError("text is an empty list")
        if self.fault_after_tokens and self.fault is None:
            raise ValueError("fault_after_tokens needs a fault")

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts to choose from: the built-in ones where the answer names none."""
        if self.text is None:
            return DEMO_TEXTS
        return (self.text,) if isinstance(self.text, str) else self.text


class Rule(Answer, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An answer and what it is for.

    Attributes:
        when: the last user message must contain this; empty matches everything.
    """

    when: str = ""


class Script(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole script.

    Attributes:
        step_seconds: time between two steps of the engine; each running sequence gets one token a step. 0 is as fast as
            the event loop turns.
        kv_tokens: tokens of context that it says it has room for; 0 says nothing. It plays beyond them all the same.
        rules: the first that matches is played; where none does, a built-in text is.
    """

    step_seconds: Pause = 0.01
    kv_tokens: Count = 0
    rules: tuple[Rule, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Script":
        """Read a script from TOML.

        Raises:
            ScriptError: it is not TOML, or a field is unknown or has a wrong value.
        """
        try:
            document: dict[str, Any] = tomllib.loads(text)
            return msgspec.convert(document, cls)
        except tomllib.TOMLDecodeError as error:
            raise ScriptError(f"the script is not valid TOML: {error}") from error
        except msgspec.ValidationError as error:
            place, reason = explain_mismatch(error)
            raise ScriptError(f"the script is wrong at {place or 'its top'}: {reason}") from error

    def find_answer(self, user_text: str) -> Answer:
        """Return what to answer to a last user message."""
        for rule in self.rules:
            if rule.when in user_text:
                return rule
        return Answer()
