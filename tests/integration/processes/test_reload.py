"""A gateway process reads its settings again when it is told to. No broker is needed for that."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import msgspec
import pytest

from tests.support.serving import clean_environment

SETTINGS = """
[broker]
url = "amqp://127.0.0.1:1/"
[log]
format = "json"
[routing]
reload_seconds = 0.0
[models.own]
weights = "tiny:random"
"""

pytestmark = pytest.mark.timeout(90)


def _wait_for(event: str, log: IO[str]) -> dict[str, Any]:
    for line in log:
        if line.startswith("{"):
            said = msgspec.json.decode(line, type=dict[str, Any])
            if said["event"] == event:
                return said
    raise AssertionError(f"the gateway ended without saying: {event}")


def test_a_hangup_reloads_the_settings_and_a_bad_file_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "headrace.toml"
    path.write_text(SETTINGS)
    process = subprocess.Popen(
        [sys.executable, "-m", "headrace.apps.gateway", "--config", str(path), "--port", "0"],
        cwd=tmp_path,
        env=clean_environment({}),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        _wait_for("gateway ready", process.stderr)
        path.write_text(SETTINGS + '[routes.chat]\ntargets = [{ model = "nobody" }]\n')
        process.send_signal(signal.SIGHUP)
        assert "nobody is no model" in _wait_for("settings not reloaded", process.stderr)["problems"][0]
        path.write_text(SETTINGS + '[routes.chat]\ntargets = [{ model = "own" }]\n')
        process.send_signal(signal.SIGHUP)
        assert _wait_for("settings reloaded", process.stderr)["routes"] == ["chat"]
        process.send_signal(signal.SIGTERM)
        _wait_for("gateway stopped", process.stderr)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait(30)
        if process.stderr is not None:
            process.stderr.close()
