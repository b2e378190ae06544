"""`headrace settings`: what a process started here and now would run with."""

import sys
from collections.abc import Generator
from typing import Any

import msgspec
from msgspec import Struct, structs

from headrace.apps.cli.environment import read_environment
from headrace.apps.cli.stack.report import align
from headrace.process.config import read_settings
from headrace.schema.settings import Secret, Settings, SettingsError
from headrace.schema.settings.load import named_sections, plain_sections, variable_name
from headrace.schema.settings.table import render_settings_table

BAD_SETTINGS = 2
CHANGED = "*"


def show_settings(*, config: str | None, markdown: bool) -> int:
    """Print the settings and return the exit status: 2 when they can't be used."""
    if markdown:
        sys.stdout.write(render_settings_table())
        return 0
    try:
        settings = read_settings(config=config, environ=read_environment())
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return BAD_SETTINGS
    sys.stdout.write(render_settings(settings) + f"\n\n{CHANGED} is not the default.\n")
    return 0


def render_settings(settings: Settings) -> str:
    """Return a table: what differs from the default is marked; a secret shows only that it is set."""
    rows = [(" ", "SETTING", "VALUE", "ENVIRONMENT")]
    for path, value, default in _walk(settings):
        rows.append((CHANGED if value != default else " ", path, _show(value), variable_name(path)))
    return align(rows)


def _walk(settings: Settings) -> Generator[tuple[str, Any, Any]]:
    defaults = Settings()
    for section in plain_sections():
        yield from _fields(section, getattr(settings, section), getattr(defaults, section))
    for section in named_sections():
        known: dict[str, Struct] = getattr(defaults, section)
        tables: dict[str, Struct] = getattr(settings, section)
        for name, values in tables.items():
            yield from _fields(f"{section}.{name}", values, known.get(name))


def _fields(section: str, values: Struct, defaults: Struct | None) -> Generator[tuple[str, Any, Any]]:
    for field in structs.fields(values):
        default = _default_of(field) if defaults is None else getattr(defaults, field.name)
        yield f"{section}.{field.name}", getattr(values, field.name), default


def _default_of(field: structs.FieldInfo) -> Any:
    """Return the default of a setting; one without a default is never at it."""
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def _show(value: object) -> str:
    match value:
        case Secret():
            return "(set)"
        case None:
            return "(none)"
        case str():
            return value or '""'
        case _:
            return msgspec.json.encode(value).decode()
