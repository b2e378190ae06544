"""Where the settings file is looked for."""

from pathlib import Path

import pytest

from headrace.process.config import read_settings
from headrace.schema.settings import SettingsError


def test_the_file_of_the_working_folder_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "headrace.toml").write_text("[gateway]\nport = 1234\n")
    monkeypatch.chdir(tmp_path)
    assert read_settings(config=None, environ={}).gateway.port == 1234


def test_the_command_line_names_another(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("[gateway]\nport = 1\n")
    (tmp_path / "b.toml").write_text("[gateway]\nport = 2\n")
    environ = {"HEADRACE_CONFIG": str(tmp_path / "a.toml")}
    assert read_settings(config=None, environ=environ).gateway.port == 1
    assert read_settings(config=str(tmp_path / "b.toml"), environ=environ).gateway.port == 2


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"gone\.toml: can't be read: No such file"):
        read_settings(config=str(tmp_path / "gone.toml"), environ={})


def test_what_the_command_line_leaves_out_is_not_an_override(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("[gateway]\nport = 7\n")
    overrides = {"gateway.port": None, "gateway.host": "::1"}
    settings = read_settings(config=str(tmp_path / "a.toml"), environ={}, overrides=overrides)
    assert (settings.gateway.port, settings.gateway.host) == (7, "::1")
