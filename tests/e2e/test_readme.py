"""What the README shows works as it stands there, but for the port."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.schema.settings import ConfigSource, load_settings
from tests.support.processes import wait_for
from tests.support.serving import HEADRACE, Serving

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def readme(repository: Path) -> str:
    return (repository / "README.md").read_text()


def _blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def _at(text: str, server: Serving) -> str:
    assert "http://127.0.0.1:8000" in text
    return text.replace("http://127.0.0.1:8000", server.address)


def test_the_curl_line(readme: str, scripted: Serving) -> None:
    (line,) = [block for block in _blocks(readme, "sh") if block.startswith("curl")]
    shell = subprocess.run(["bash", "-c", _at(line, scripted)], capture_output=True, text=True, timeout=60, check=True)
    assert shell.stdout.endswith("data: [DONE]\n\n")
    assert '"content":"The"' in shell.stdout


def test_the_ready_message_shows_the_same_curl_line(readme: str, scripted: Serving) -> None:
    (line,) = [block.strip() for block in _blocks(readme, "sh") if block.startswith("curl")]
    # The lines after the ready line may still be on their way.
    wait_for(lambda: _at(line, scripted) in scripted.text, f"it says {line}")


def test_the_python_example(readme: str, scripted: Serving) -> None:
    (code,) = _blocks(readme, "python")
    done = subprocess.run(
        [sys.executable, "-c", _at(code, scripted)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "The capital of France is Paris."


def test_the_settings_example(readme: str) -> None:
    (text,) = _blocks(readme, "toml")
    settings = load_settings(
        source=ConfigSource("headrace.toml", text), environ={}, overrides={}, read_file=lambda name: name
    )
    assert settings.worker.model in settings.models


def test_the_chat_command(readme: str, scripted: Serving) -> None:
    assert "just chat smollm2-135m-instruct" in readme
    command = [HEADRACE, "chat", "smollm2-135m-instruct", "What is the capital of France?", "--url", scripted.address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "The capital of France is Paris." in done.stdout


def test_every_recipe_is_there(readme: str, repository: Path) -> None:
    recipes = set(re.findall(r"^([a-z]+)(?: \*?\w+)*:", (repository / "justfile").read_text(), flags=re.MULTILINE))
    shown = set(re.findall(r"\bjust ([a-z]+)", "\n".join([*_blocks(readme, "sh"), *re.findall(r"`([^`]+)`", readme)])))
    assert shown
    assert shown <= recipes


def test_ci_runs_the_command_that_the_readme_gives(readme: str, repository: Path) -> None:
    assert "pip install uv rust-just && just test" in readme
    script = (repository / ".ci" / "run").read_text()
    assert "pip install uv rust-just" in script
    assert "just test" in script
