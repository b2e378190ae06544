"""`headrace chat` at a real terminal, against a small server that streams for ever until it is cancelled."""

import os
import pty
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest

from headrace.apps.cli.nodes import wait_until

SECONDS = 20


class EndlessModel(ThreadingHTTPServer):
    """Answers `short` at once, and anything else with a stream that ends when it is cancelled."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), EndlessAnswer)
        self.bodies: list[list[str]] = []
        self.cancelled = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class EndlessAnswer(BaseHTTPRequestHandler):
    server: EndlessModel  # pyright: ignore[reportIncompatibleVariableOverride] - it is only ever run by that one

    def do_POST(self) -> None:
        body = msgspec.json.decode(self.rfile.read(int(self.headers["Content-Length"])))
        contents = [message["content"] for message in body["messages"]]
        self.server.bodies.append(contents)
        self.send_response(200)
        self.send_header("Headrace-Request-Id", "gen_1")
        self.end_headers()
        self._send('{"type":"sequence_delta","index":0,"text":"tok\\u001b[31men "}')
        if contents[-1] != "short":
            self.server.cancelled.wait(SECONDS)
        else:
            self._send('{"type":"generation_finished"}')

    def _send(self, event: str) -> None:
        self.wfile.write(f'event: chunk\ndata: {{"events":[{event}]}}\n\n'.encode())
        self.wfile.flush()

    def do_DELETE(self) -> None:
        assert self.path == "/v1/generations/gen_1"
        self.server.cancelled.set()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's own names
        del format, args


@pytest.fixture
def model() -> Generator[EndlessModel]:
    with EndlessModel() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join(SECONDS)


class Terminal:
    """A program at a terminal: what it showed so far, and a keyboard."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env={"PATH": os.defpath, "TERM": "dumb"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=take_terminal,  # noqa: PLW1509 - nothing else runs in this process's child
        )
        os.close(slave)
        self._shown = bytearray()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 1000)
            except OSError:  # the other end is closed
                return
            self._shown += data

    @property
    def shown(self) -> str:
        return self._shown.decode(errors="replace")

    def wait_for(self, text: str, *, count: int = 1) -> None:
        assert wait_until(lambda: self.shown.count(text) >= count, seconds=SECONDS), f"{text!r} not in {self.shown!r}"

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)


def take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_a_conversation_with_history_a_stopped_answer_and_a_way_out(model: EndlessModel, tmp_path: Path) -> None:
    code = "from headrace.apps.cli.main import main; main()"
    command = [sys.executable, "-c", code, "chat", "m", "--url", model.url]
    with closing(Terminal(command, tmp_path)) as terminal:
        terminal.wait_for("> ")
        terminal.type("short\n")
        terminal.wait_for("tok[31men", count=1)
        assert "\x1b[31m" not in terminal.shown, "a model does not paint the terminal"
        terminal.wait_for("> ", count=2)

        terminal.type("for ever\n")
        terminal.wait_for("tok[31men", count=2)
        terminal.type("\x03")
        terminal.wait_for("[stopped]")
        assert model.cancelled.wait(SECONDS)
        assert model.bodies[-1] == ["short", "tok\x1b[31men ", "for ever"]

        terminal.wait_for("> ", count=3)
        terminal.type("/nonsense\n")
        terminal.wait_for("there is no /nonsense")
        terminal.type("/reset\n")
        terminal.wait_for("> ", count=5)
        terminal.type("short\n")
        terminal.wait_for("tok[31men", count=3)
        assert model.bodies[-1] == ["short"]

        terminal.wait_for("> ", count=6)
        terminal.type("\x04")
        assert terminal.process.wait(SECONDS) == 0


def test_ctrl_c_stops_a_single_question_with_status_130(model: EndlessModel, tmp_path: Path) -> None:
    code = "from headrace.apps.cli.main import main; main()"
    command = [sys.executable, "-c", code, "chat", "m", "for ever", "--url", model.url]
    with closing(Terminal(command, tmp_path)) as terminal:
        terminal.wait_for("tok")
        terminal.type("\x03")
        assert terminal.process.wait(SECONDS) == 130
    assert model.cancelled.wait(SECONDS)
    assert "Traceback" not in terminal.shown
