"""The command line from outside: help, exit statuses, and errors without a traceback."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from headrace.apps.cli.show_settings import render_settings
from headrace.schema.settings import GatewaySettings, ProviderSettings, RouteSettings, Secret, Settings, TargetSettings

COMMANDS = ("serve", "stack", "chat", "queue", "doctor", "settings", "version", "tenants", "keys", "accounts")


def headrace(*words: str, folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from headrace.apps.cli.main import main; main()", *words]
    environment = {"PATH": "/usr/bin:/bin", **environ}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=50, input=""
    )


def test_the_help_names_every_command_and_imports_none(tmp_path: Path) -> None:
    answer = headrace("--help", folder=tmp_path)
    assert answer.returncode == 0
    assert all(command in answer.stdout for command in COMMANDS)
    imported = headrace_imports("--help")
    assert not {name for name in imported if name.partition(".")[0] in {"rich", "httpx", "litestar", "msgspec"}}


def headrace_imports(*words: str) -> set[str]:
    code = (
        "import sys; from headrace.apps.cli.main import app; app(sys.argv[1:], standalone_mode=False);"
        " print('modules', *sys.modules)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True, timeout=50
    )
    return set(answer.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("command", ["stack", "settings"])
def test_settings_errors_are_lines_and_status_2(tmp_path: Path, command: str) -> None:
    config = tmp_path / "headrace.toml"
    config.write_text('[gateway]\nport = "x"\nprot = 1\n')
    answer = headrace(command, folder=tmp_path)
    assert answer.returncode == 2
    assert answer.stderr.splitlines() == [
        "headrace.toml, line 2: gateway.port: 'x' is given, and allowed is a whole number from 0 to 65535",
        "headrace.toml, line 3: gateway.prot is not a setting; did you mean port?",
    ]
    assert answer.stdout == ""


def test_doctor_reports_settings_errors_as_findings(tmp_path: Path) -> None:
    answer = headrace("doctor", "--json", folder=tmp_path, HEADRACE_GATEWAY_PROT="1")
    assert answer.returncode == 1
    findings = msgspec.json.decode(answer.stdout)
    assert [finding["status"] for finding in findings if finding["check"] == "settings"] == ["failed"]
    assert answer.stderr == ""


def test_a_config_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    answer = headrace("settings", "--config", "nowhere.toml", folder=tmp_path)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr.startswith("nowhere.toml: can't be read")


def test_chat_without_a_server_is_one_line_and_status_1(tmp_path: Path) -> None:
    answer = headrace("chat", "m", "Hello", "--url", "http://127.0.0.1:9", folder=tmp_path)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr == "nothing answers at http://127.0.0.1:9. Start a server with: just serve\n"


def test_chat_reads_standard_input_when_it_is_no_terminal(tmp_path: Path) -> None:
    answer = headrace("chat", "m", folder=tmp_path)
    assert answer.returncode == 2
    assert "the prompt is empty" in answer.stderr


def test_every_named_table_is_shown() -> None:
    text = render_settings(
        Settings(
            providers={"p": ProviderSettings(kind="openai", api_key=Secret("hush"))},
            routes={"r": RouteSettings(targets=(TargetSettings(model="m", provider="p"),))},
        )
    )
    assert "hush" not in text
    assert "HEADRACE_PROVIDERS_P_API_KEY" in text
    assert '[{"model":"m","provider":"p","weight":1.0,"for_long_context":false}]' in text


def test_a_secret_is_never_shown() -> None:
    text = render_settings(Settings(gateway=GatewaySettings(api_key=Secret("hush"), port=9)))
    assert "hush" not in text
    changed = [line.split()[1] for line in text.splitlines() if line.startswith("*")]
    assert changed == ["gateway.port", "gateway.api_key"]


def test_the_version_is_printed(tmp_path: Path) -> None:
    answer = headrace("version", folder=tmp_path)
    assert answer.returncode == 0
    assert answer.stdout.strip()[0].isdigit()


def test_dead_letters_of_a_broker_in_memory_are_nobodys_to_see(tmp_path: Path) -> None:
    answer = headrace("queue", "dead", "list", folder=tmp_path)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr.startswith("broker.url: memory:// keeps no dead letters")


def test_a_dead_letter_is_named_or_all_are_meant(tmp_path: Path) -> None:
    for words in (("retry",), ("drop",), ("drop", "gen_1", "--all")):
        answer = headrace("queue", "dead", *words, folder=tmp_path)
        assert answer.returncode == 2
        assert "give an ID, or --all" in answer.stderr


def test_dead_letters_of_a_broker_that_is_away_are_one_line_and_status_1(tmp_path: Path) -> None:
    answer = headrace("queue", "dead", "list", folder=tmp_path, HEADRACE_BROKER_URL="amqp://127.0.0.1:9/")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert "Connection refused" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
