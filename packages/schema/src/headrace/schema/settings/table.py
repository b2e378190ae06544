"""The settings as a table for people, written from the Structs so that it can't be wrong."""

from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from headrace.schema.settings.load import named_sections, plain_sections, variable_name
from headrace.schema.settings.values import Secret


def render_settings_table() -> str:
    """Return a Markdown table of every setting: name, environment variable, type, default, meaning."""
    rows = ["| setting | environment | type | default | what it does |", "| --- | --- | --- | --- | --- |"]
    for section, struct in plain_sections().items():
        rows += _rows(section, struct)
    for section, struct in named_sections().items():
        rows += _rows(f"{section}.NAME", struct)
    return "\n".join(rows) + "\n"


def _rows(section: str, struct: type[Struct]) -> list[str]:
    hints = get_type_hints(struct, include_extras=True)
    rows: list[str] = []
    for item in msgspec.structs.fields(struct):
        path = f"{section}.{item.name}"
        kind, metas = _unwrap(hints[item.name])
        description = next(meta.description for meta in reversed(metas) if meta.description)
        default = "required" if item.required else _show_default(item)
        rows.append(f"| `{path}` | `{variable_name(path)}` | {_show_type(kind, metas)} | {default} | {description} |")
    return rows


def _show_default(item: msgspec.structs.FieldInfo) -> str:
    value: Any = item.default_factory() if item.default is msgspec.NODEFAULT else item.default
    if value is None:
        return "none"
    if value in ("", {}, ()):
        return "empty"
    return f"`{value}`"


def _unwrap(kind: Any) -> tuple[Any, Sequence[Meta]]:
    metas = list(getattr(kind, "__metadata__", ()))
    return (get_args(kind)[0] if metas else kind), metas


def _show_type(kind: Any, metas: Sequence[Meta]) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(kind))
    if Secret in get_args(kind):
        return "secret"
    if get_origin(kind) is tuple:
        return "list, in the environment with commas"
    name = getattr(kind, "__name__", str(kind))
    bounds = [f"≥ {_show_number(meta.ge)}" for meta in metas if meta.ge is not None]
    bounds += [f"> {_show_number(meta.gt)}" for meta in metas if meta.gt is not None]
    bounds += [f"≤ {_show_number(meta.le)}" for meta in metas if meta.le is not None]
    return f"{name} {', '.join(bounds)}".strip()


def _show_number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)
