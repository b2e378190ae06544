"""Finds and reads the settings file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headrace.schema.settings import ConfigSource, Settings, SettingsError, load_settings

DEFAULT_NAME = "headrace.toml"
CONFIG_VARIABLE = "HEADRACE_CONFIG"
# The settings that a command line may say, by the name that they have in every command.
OPTIONS = {
    "engine.kind": "--engine",
    "gateway.host": "--host",
    "gateway.port": "--port",
    "worker.model": "--model",
    "worker.models": "--model",
}


def read_settings(
    *, config: str | None, environ: Mapping[str, str], overrides: Mapping[str, Any] | None = None
) -> Settings:
    """Read the settings of this process.

    Args:
        config: the file named on the command line; else `HEADRACE_CONFIG`, else `headrace.toml` if it is there.
        environ: the environment.
        overrides: settings from the command line by dotted path; None values are left out.

    Raises:
        SettingsError: with every mistake.
    """
    given = {path: value for path, value in (overrides or {}).items() if value is not None}
    return load_settings(
        source=_find_source(config or environ.get(CONFIG_VARIABLE)),
        environ=environ,
        overrides=given,
        read_file=lambda name: Path(name).read_text(encoding="utf-8"),
        options=OPTIONS,
    )


def settings_path(*, config: str | None, environ: Mapping[str, str]) -> Path:
    """Return the settings file that `read_settings` reads, or would read if it were there."""
    return Path(config or environ.get(CONFIG_VARIABLE) or DEFAULT_NAME)


def _find_source(config: str | None) -> ConfigSource | None:
    path = Path(config or DEFAULT_NAME)
    if config is None and not path.exists():
        return None
    try:
        return ConfigSource(str(path), path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError([f"{path}: can't be read: {reason}"]) from None
