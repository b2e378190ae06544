"""What restricts the text of an answer, as one value: a grammar, or a tag that a grammar comes after.

Where a model thinks aloud first, its thoughts are a part of the grammar: they end with the model's own mark, and then
the grammar begins. So a constraint holds also where a model would rather stop after thinking.
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from headrace.worker.engines.vllm.grammar.ebnf import Rules
from headrace.worker.engines.vllm.grammar.forms import AllowedTool, write_arguments

HERMES_BEGIN = "<tool_call>"
HERMES_END = "</tool_call>"


class Constraint(Struct, frozen=True):
    """A constraint as the engine takes it.

    Attributes:
        kind: the word that vLLM's `StructuredOutputsParams` has for it.
        text: EBNF, or a structural tag as JSON.
    """

    kind: Literal["grammar", "structural_tag"]
    text: str


def constrain(grammar: str) -> Constraint:
    """Return the constraint of a grammar."""
    return Constraint("grammar", grammar)


def constrain_hermes_calls(allowed: Sequence[AllowedTool], *, only_one: bool) -> Constraint:
    """Return a constraint on the arguments of calls in the form of Hermes, where the model makes any.

    Args:
        allowed: the tools that may be called; arguments are held to the schema of those that are `strict`.
        only_one: the answer ends with the first call.

    Raises:
        HeadraceError: `invalid_request`: a tool's parameters can't be kept to.
    """
    tags = [_hermes_tag(entry) for entry in allowed]
    return _tag(
        {
            "type": "triggered_tags",
            "triggers": [HERMES_BEGIN],
            "tags": tags,
            "stop_after_first": only_one,
        }
    )


def constrain_hermes_calls_or(allowed: Sequence[AllowedTool], grammar: str, *, only_one: bool) -> Constraint:
    """Return a constraint for an answer that is either calls in the form of Hermes or text of a grammar.

    Args:
        allowed: the tools that may be called; see `constrain_hermes_calls`.
        grammar: of the text.
        only_one: there is at most one call.
    """
    tags = [_hermes_tag(entry) for entry in allowed]
    calls = {
        "type": "tags_with_separator",
        "tags": tags,
        "separator": "\n",
        "at_least_one": True,
        "stop_after_first": only_one,
    }
    return _tag({"type": "or", "elements": [calls, {"type": "grammar", "grammar": grammar}]})


def after_reasoning(constraint: Constraint, end_mark: str) -> Constraint:
    """Return the constraint for a model that thinks first, until it writes the mark."""
    return _tag(
        {
            "type": "sequence",
            "elements": [
                {"type": "any_text", "excludes": [end_mark]},
                {"type": "const_string", "value": end_mark},
                {"type": "regex", "pattern": "\\n{0,2}"},
                _format_of(constraint),
            ],
        }
    )


def _format_of(constraint: Constraint) -> dict[str, Any]:
    if constraint.kind == "grammar":
        return {"type": "grammar", "grammar": constraint.text}
    whole: dict[str, Any] = msgspec.json.decode(constraint.text)
    return whole["format"]


def _hermes_tag(entry: AllowedTool) -> dict[str, Any]:
    rules = Rules()
    tool = entry.tool if entry.tool.strict else msgspec.structs.replace(entry.tool, parameters=None)
    arguments = rules.write(write_arguments(rules, AllowedTool(entry.index, tool)))
    name = msgspec.json.encode(entry.tool.name).decode()
    return {
        "type": "tag",
        "begin": f'{HERMES_BEGIN}\n{{"name": {name}, "arguments": ',
        "content": {"type": "grammar", "grammar": arguments},
        "end": f"}}\n{HERMES_END}",
    }


def _tag(form: dict[str, Any]) -> Constraint:
    return Constraint("structural_tag", msgspec.json.encode({"type": "structural_tag", "format": form}).decode())
