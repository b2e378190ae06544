"""`headrace serve` as a process: how it starts, refuses, drains, and leaves nothing behind."""

import contextlib
import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import msgspec
import psutil
import pytest

from headrace.apps.cli.nodes import free_ports
from tests.support.process_tree import kill, survivors
from tests.support.serving import Serving, metric, serving, wait_metric

MODEL = "smollm2-135m-instruct"
SLOW = '[[rules]]\nwhen = ""\ntokens = 60\nstep_seconds = 0.02\n'

pytestmark = pytest.mark.timeout(180)


def _body(text: str = "count", **fields: object) -> dict[str, object]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **fields}


def _read_stream(address: str, body: dict[str, object], first: threading.Event) -> str:
    """Read a whole SSE answer; `first` is set with its first bytes."""
    received = ""
    with httpx.stream("POST", f"{address}/v1/chat/completions", json=body, timeout=120) as response:
        for text in response.iter_text():
            received += text
            first.set()
    return received


class _Reader(threading.Thread):
    """Reads one stream in the background."""

    def __init__(self, address: str, body: dict[str, object]) -> None:
        super().__init__(daemon=True)
        self.first = threading.Event()
        self.received = ""
        self._address, self._body = address, body
        self.start()
        assert self.first.wait(60)

    def run(self) -> None:
        self.received = _read_stream(self._address, self._body, self.first)

    def finish(self) -> str:
        self.join(60)
        return self.received


def _scripted(folder: Path, script: str = SLOW) -> dict[str, str]:
    (folder / "script.toml").write_text(script)
    return {"HEADRACE_ENGINE_SCRIPT": "script.toml", "HEADRACE_ENGINE_KIND": "scripted"}


def test_ctrl_c_finishes_what_runs_and_leaves_nothing(tmp_path: Path) -> None:
    with serving(folder=tmp_path, environment=_scripted(tmp_path)) as server:
        family = server.family()
        reader = _Reader(server.address, _body(stream=True))
        server.interrupt()
        received = reader.finish()
        assert server.wait() == 0
    assert received.endswith("data: [DONE]\n\n")
    assert received.count('"content":') >= 60
    assert survivors(family, seconds=30) == []


def test_a_drain_that_runs_out_of_time_ends_streams_with_an_error_event(tmp_path: Path) -> None:
    environment = _scripted(tmp_path, '[[rules]]\nfault = "hang"\nfault_after_tokens = 2\n')
    environment["HEADRACE_GATEWAY_DRAIN_SECONDS"] = "0.5"
    with serving(folder=tmp_path, environment=environment) as server:
        reader = _Reader(server.address, _body(stream=True))
        server.interrupt()
        received = reader.finish()
        assert server.wait() == 0
    assert '"shutting_down"' in received


def test_killing_the_process_group_leaves_nothing(tmp_path: Path) -> None:
    with serving(folder=tmp_path, environment=_scripted(tmp_path)) as server:
        family = server.family()
        server.kill_group()
        assert survivors(family, seconds=30) == []


@pytest.mark.engine
def test_ctrl_c_lets_the_real_engine_finish_and_killing_the_group_takes_it_along(repository: Path) -> None:
    tiny = {
        "HEADRACE_STORAGE_FOLDER": str(repository / ".headrace"),
        "HEADRACE_MODELS_SMOLLM2_135M_INSTRUCT_WEIGHTS": "tiny:random",
        "HEADRACE_GATEWAY_DRAIN_SECONDS": "120",
    }
    with serving(folder=repository, environment=tiny) as server:
        family = server.family()
        assert len(family) > 1
        reader = _Reader(server.address, _body(stream=True, max_tokens=100))
        server.interrupt()
        received = reader.finish()
        assert server.wait() == 0
    assert received.endswith("data: [DONE]\n\n")
    assert survivors(family, seconds=30) == []
    with serving(folder=repository, environment=tiny) as server:
        family = server.family()
        server.kill_group()
        assert survivors(family, seconds=30) == []


@pytest.mark.engine
def test_an_engine_that_is_killed_tells_every_stream_and_ends_the_process(repository: Path) -> None:
    environment = {
        "HEADRACE_STORAGE_FOLDER": str(repository / ".headrace"),
        "HEADRACE_MODELS_SMOLLM2_135M_INSTRUCT_WEIGHTS": "tiny:random",
    }
    with serving(folder=repository, environment=environment) as server:
        family = server.family()
        reader = _Reader(server.address, _body(stream=True, max_tokens=1900))
        kill(psutil.Process(server.pid).children(recursive=True))
        received = reader.finish()
        assert server.wait() == 1
        assert "the engine" in server.text
    assert '"engine_dead"' in received
    assert survivors(family, seconds=30) == []


def test_a_client_that_stops_reading_and_then_leaves_frees_the_engine(scripted: Serving) -> None:
    before = metric(scripted.address, "headrace_worker_generations_total", outcome="cancelled")
    parts = urlsplit(scripted.address)
    body = msgspec.json.encode(_body("for ever", stream=True))
    with socket.create_connection((parts.hostname or "", parts.port or 0)) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        assert connection.recv(64).startswith(b"HTTP/1.1 200")
        # Long enough for the answer to fill the socket's buffers on both sides: 500 tokens a second come in frames.
        threading.Event().wait(3.0)
    wait_metric(scripted.address, "headrace_worker_generations_total", before + 1, outcome="cancelled")


@pytest.mark.parametrize("head", [b"X-Long: ", b"GET /", b""], ids=["header", "url", "many headers"])
def test_a_head_without_end_is_refused(scripted: Serving, head: bytes) -> None:
    parts = urlsplit(scripted.address)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=30) as connection:
        begin = head if head.startswith(b"GET") else b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + head
        piece = b"x" * 8192 if head else b"X-Short: 1\r\n" * 700
        connection.sendall(begin)
        with contextlib.suppress(ConnectionError):
            for _ in range(64):
                connection.sendall(piece)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while received := connection.recv(65536):
                answer += received
    assert not answer or answer.startswith(b"HTTP/1.1 431 ")
    assert httpx.get(f"{scripted.address}/livez").status_code == 200


def test_what_is_not_json_is_refused(scripted: Serving) -> None:
    answer = httpx.post(
        f"{scripted.address}/v1/chat/completions",
        content=msgspec.json.encode(_body()),
        headers={"Content-Type": "text/plain"},
    )
    assert answer.status_code == 415
    assert answer.json()["error"]["param"] == "Content-Type"


@pytest.mark.parametrize("extension", [2**80, -(2**80), {"tokens": 2**80}])
def test_an_integer_that_can_not_travel_is_refused(scripted: Serving, extension: object) -> None:
    parameters = {"provider_extensions": {"scripted": extension}}
    body = f'{{"model":"{MODEL}","messages":[{{"role":"user","content":"x"}}],"generation_parameters":{parameters}}}'
    answer = httpx.post(f"{scripted.address}/v1/generations", content=body.replace("'", '"'))
    assert answer.status_code == 400
    assert "provider_extensions" in answer.json()["error"]["param"]


def test_a_broker_that_is_away_does_not_keep_serve_from_stopping(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    environment = {**_scripted(tmp_path), "HEADRACE_BROKER_URL": f"amqp://127.0.0.1:{port}/x"}
    with serving(folder=tmp_path, environment=environment, ready=False) as server:
        server.wait_output("broker not reached")
        server.interrupt()
        assert server.wait() == 0


def test_a_broker_url_of_another_kind_is_named(tmp_path: Path) -> None:
    environment = {**_scripted(tmp_path), "HEADRACE_BROKER_URL": "http://me:s3cret@x"}
    with serving(folder=tmp_path, environment=environment, ready=False) as server:
        assert server.wait() == 2
    assert "broker.url" in server.text
    assert "s3cret" not in server.text
    assert "Traceback" not in server.text


def test_a_delete_ends_the_stream_with_an_event(scripted: Serving) -> None:
    body = {**_body("for ever"), "stream": True}
    with httpx.stream("POST", f"{scripted.address}/v1/generations", json=body, timeout=60) as response:
        request_id = response.headers["headrace-request-id"]
        lines = response.iter_lines()
        while "sequence_delta" not in next(lines):
            pass
        answer = httpx.delete(f"{scripted.address}/v1/generations/{request_id}")
        assert answer.status_code == 200
        rest = "".join(lines)
    assert '"generation_failed"' in rest
    assert '"cancelled"' in rest
    assert httpx.delete(f"{scripted.address}/v1/generations/{request_id}").status_code == 404


def test_a_deadline_of_the_request_is_kept(scripted: Serving) -> None:
    answer = httpx.post(
        f"{scripted.address}/v1/chat/completions",
        json=_body("for ever"),
        headers={"Headrace-Timeout-Seconds": "0.5"},
        timeout=60,
    )
    assert answer.status_code == 504
    assert answer.json()["error"]["code"] == "deadline_exceeded"


def test_without_a_key_only_loopback_is_served(tmp_path: Path) -> None:
    environment = _scripted(tmp_path)
    with serving("--host", "0.0.0.0", folder=tmp_path, environment=environment, ready=False) as server:  # noqa: S104
        assert server.wait() == 2
    assert "HEADRACE_API_KEY" in server.text
    assert "0.0.0.0" in server.text  # noqa: S104


def test_with_a_key_every_request_needs_it(tmp_path: Path) -> None:
    environment = {**_scripted(tmp_path), "HEADRACE_API_KEY": "s3cret-key"}
    with serving("--host", "0.0.0.0", folder=tmp_path, environment=environment) as server:  # noqa: S104
        address = server.address.replace("0.0.0.0", "127.0.0.1")  # noqa: S104
        assert httpx.get(f"{address}/v1/models").status_code == 401
        wrong = httpx.get(f"{address}/v1/models", headers={"Authorization": "Bearer s3cret-kez"})
        assert wrong.status_code == 401
        right = httpx.get(f"{address}/v1/models", headers={"Authorization": "Bearer s3cret-key"})
        assert right.status_code == 200
        assert httpx.get(f"{address}/livez").status_code == 200
    assert "s3cret" not in server.text


def test_a_wrong_setting_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[gateway]\nprot = 9000\n")
    with serving("--config", "mine.toml", folder=tmp_path, ready=False) as server:
        assert server.wait() == 2
    assert "mine.toml, line 2: gateway.prot is not a setting; did you mean port?" in " ".join(server.text.split())
    assert "Traceback" not in server.text


def test_a_port_that_is_taken_is_named_with_another(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with socket.create_server(("127.0.0.1", port)):
        arguments = ("--port", str(port), "--engine", "scripted")
        with serving(*arguments, folder=tmp_path, ready=False) as server:
            assert server.wait() == 2
    assert str(port) in server.text
    assert f"--port {port + 1}" in server.text


def test_an_unknown_model_on_the_command_line_is_named(tmp_path: Path) -> None:
    with serving("--model", "nobody", "--engine", "scripted", folder=tmp_path, ready=False) as server:
        assert server.wait() == 2
    assert "nobody" in server.text
    assert MODEL in server.text


def test_a_generation_goes_on_without_its_client_and_is_found_again(tmp_path: Path) -> None:
    with serving(folder=tmp_path, environment=_scripted(tmp_path)) as server:
        url, body = f"{server.address}/v1/generations", _body(stream=True)
        with httpx.stream("POST", url, json=body, headers={"Headrace-Retain": "true"}, timeout=60) as response:
            frames = "".join(text for text, _ in zip(response.iter_text(), range(3), strict=False))
            found = f"{url}/{response.headers['headrace-request-id']}"
        place = frames.rpartition("id: ")[2].partition("\n")[0]
        headers = {"Accept": "text/event-stream", "Last-Event-ID": place}
        rest = httpx.get(found, headers=headers, timeout=60).text
        assert "generation_finished" in rest
        state = httpx.get(found).json()
        told = "".join(
            event.get("text", "")
            for line in (frames + rest).splitlines()
            if line.startswith("data: ")
            for event in msgspec.json.decode(line.removeprefix("data: "))["events"]
        )
        assert (state["state"], state["sequences"][0]["text"]) == ("finished", told)
        server.interrupt()
        assert server.wait() == 0
