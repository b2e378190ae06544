"""Tools that a model may call, and which of them it must."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from headrace.schema.messages import ToolName

MAX_TOOLS = 128


class Tool(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A function that the client can run for the model.

    Attributes:
        name: unique among the tools of a request.
        description: what it is for, in words for the model.
        parameters: JSON Schema of its arguments; None takes any object.
        strict: hold the arguments to the schema also where the model chooses freely whether to call.
    """

    name: ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool = False


class ToolChoice(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which tools may or must be called.

    Attributes:
        mode: `auto` leaves it to the model, `none` forbids calls, `required` forces at least one.
        names: only these may be called; empty allows all. `required` with one name forces that tool.
        parallel: whether an answer may have more than one call.
    """

    mode: Literal["auto", "none", "required"] = "auto"
    names: Annotated[tuple[ToolName, ...], Meta(max_length=MAX_TOOLS)] = ()
    parallel: bool = True
