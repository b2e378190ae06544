"""docs/team.md works as it stands there, but for the port and the engine."""

import re
import subprocess
from collections.abc import Generator
from pathlib import Path

import httpx
import pytest

from tests.support.serving import HEADRACE, Serving, clean_environment, serving

pytestmark = pytest.mark.timeout(120)
ADMIN_KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "team.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def team(page: str, tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Serving, Path]]:
    folder = tmp_path_factory.mktemp("team")
    (settings,) = re.findall(r"```toml\n(.*?)```", page, flags=re.DOTALL)
    (folder / "headrace.toml").write_text(settings)
    environment = {"HEADRACE_ACCOUNTS_ADMIN_KEY": ADMIN_KEY, "HEADRACE_ENGINE_KIND": "scripted"}
    with serving("--config", "headrace.toml", folder=folder, environment=environment) as server:
        yield server, folder


def _commands(page: str) -> list[list[str]]:
    """Return the commands on the page that administrators type while the gateway runs."""
    shell = "\n".join(re.findall(r"```sh\n(.*?)```", page, flags=re.DOTALL))
    lines = [str(line).split() for line in shell.splitlines() if line.startswith("headrace ")]
    return [words[1:] for words in lines if words[1] in ("tenants", "keys", "usage")]


def _run(words: list[str], server: Serving, folder: Path) -> str:
    environment = clean_environment({"HEADRACE_ACCOUNTS_ADMIN_KEY": ADMIN_KEY})
    done = subprocess.run(
        [HEADRACE, *words, "--url", server.address],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _ask(server: Serving, key: str, model: str, **headers: str) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "What is the capital of France?"}]}
    return httpx.post(
        f"{server.address}/v1/chat/completions",
        json=body,
        headers={"Authorization": f"Bearer {key}", **headers},
        timeout=30,
    )


def test_the_page(page: str, team: tuple[Serving, Path]) -> None:
    server, folder = team
    commands = _commands(page)
    *making, usage = commands
    assert [words[0] for words in commands] == ["tenants", "tenants", "keys", "keys", "keys", "usage"]
    outputs = [_run(words, server, folder) for words in making]
    made = zip(making[2:], outputs[2:], strict=True)
    keys = {words[4]: re.findall(r"hr_\w{20,}", output)[0] for words, output in made}
    assert set(keys) == {"notebooks", "app", "private"}

    own = _ask(server, keys["app"], "assistant-small")
    assert own.json()["choices"][0]["message"]["content"].startswith("This is the scripted engine.")
    assert own.headers["headrace-route"] == "own"
    away = _ask(server, keys["app"], "assistant")
    assert away.status_code == 200
    assert away.headers["headrace-route"] == "provider:elsewhere"
    private = _ask(server, keys["private"], "assistant", **{"Headrace-Timeout-Seconds": "3"})
    assert private.status_code == 504
    assert _ask(server, "hr_wrong", "assistant-small").status_code == 401

    table = _run(usage, server, folder)
    assert "assistant-small" in table
    assert "USD" in table
