"""`headrace settings`: what a process started here and now would run with."""

import sys
from collections.abc import Generator
from typing import Any

import msgspec
from msgspec import Struct

from headrace.apps.cli.environment import read_environment
from headrace.apps.cli.stack.report import align
from headrace.process.config import read_settings
from headrace.schema.settings import ModelSettings, PriceSettings, Secret, Settings, SettingsError
from headrace.schema.settings.load import plain_sections, variable_name
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
    for name, model in settings.models.items():
        yield from _fields(f"models.{name}", model, defaults.models.get(name, ModelSettings(weights="")))
    for name, price in settings.prices.items():
        yield from _fields(f"prices.{name}", price, PriceSettings())


def _fields(section: str, values: Struct, defaults: Struct) -> Generator[tuple[str, Any, Any]]:
    for name in values.__struct_fields__:
        yield f"{section}.{name}", getattr(values, name), getattr(defaults, name)


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
