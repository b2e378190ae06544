"""Settings of one machine: its files and its log."""

from typing import Annotated, Literal

from msgspec import Meta, Struct


class StorageSettings(Struct, frozen=True, kw_only=True):
    """Local files."""

    folder: Annotated[
        str, Meta(description="Folder for weights, logs and state; a relative one is below the working folder.")
    ] = ".headrace"


class LogSettings(Struct, frozen=True, kw_only=True):
    """The log. Prompts and answers are never in it."""

    level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="Least level that is written.")] = (
        "info"
    )
    format: Annotated[
        Literal["auto", "json", "console"],
        Meta(description="`auto` is console on a terminal and json elsewhere."),
    ] = "auto"
