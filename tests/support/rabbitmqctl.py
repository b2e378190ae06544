"""RabbitMQ's own tool, pointed at a node of a test."""

import subprocess
from pathlib import Path

from headrace.apps.cli.nodes import RunningNode, find_services
from tests.support.serving import clean_environment


def rabbitmqctl(broker: RunningNode, *words: str) -> str:
    """Run one command against a node, and return what it says. It takes a second or two."""
    server, _epmd = find_services().need_rabbitmq()
    program = Path(server).resolve().parent / "rabbitmqctl"
    answer = subprocess.run(
        [str(program), "--quiet", *words],
        env=clean_environment(broker.process.environment),
        cwd=broker.process.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout
