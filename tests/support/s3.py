"""A real S3 server of the test's own."""

import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from headrace.apps.cli.nodes import free_ports

START_SECONDS = 40


@contextmanager
def running_s3(folder: Path) -> Generator[str]:
    """Run a server in a folder; yield its address."""
    weed = shutil.which("weed", path=str(Path(sys.executable).parent))
    assert weed is not None
    (folder / "s3.json").write_text(
        '{"identities":[{"name":"test","credentials":[{"accessKey":"key","secretKey":"secret"}],"actions":["Admin"]}]}'
    )
    s3, master, volume, filer = free_ports(4)
    grpc = free_ports(4)
    command = [weed, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"]
    command += [f"-master.port={master}", f"-master.port.grpc={grpc[0]}", f"-volume.port={volume}"]
    command += [f"-volume.port.grpc={grpc[1]}", f"-filer.port={filer}", f"-filer.port.grpc={grpc[2]}"]
    command += ["-s3", f"-s3.port={s3}", f"-s3.port.grpc={grpc[3]}", f"-s3.config={folder / 's3.json'}"]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, cwd=folder, stdout=log, stderr=log) as server:
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _listens(s3):
                assert time.monotonic() < deadline, (folder / "log").read_text()
                assert server.poll() is None, (folder / "log").read_text()
                time.sleep(0.1)
            yield f"http://127.0.0.1:{s3}"
        finally:
            server.kill()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def use_s3(endpoint: str, monkeypatch: pytest.MonkeyPatch, *, bucket: str) -> Any:
    """Set what an operator sets, make a bucket, and return a client."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client: Any = boto3.Session().client("s3")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    deadline = time.monotonic() + START_SECONDS
    while not _has_bucket(client, bucket):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return client  # pyright: ignore[reportUnknownVariableType]


def _has_bucket(client: Any, bucket: str) -> bool:
    """Make the bucket; the server may need a moment more."""
    try:
        client.create_bucket(Bucket=bucket)
    except ClientError as error:
        return "BucketAlready" in str(error)
    return True


@contextmanager
def flaky_s3(*, failures: int) -> Generator[tuple[str, list[str]]]:
    """Run a store of one object that refuses the first calls of each method; yield its address and what was called."""
    calls: list[str] = []
    kept: list[bytes] = []
    seen: dict[str, int] = {}

    class Answers(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            calls.append(self.command)
            seen[self.command] = seen.get(self.command, 0) + 1
            if seen[self.command] <= failures:
                self.send(503, b"<Error><Code>SlowDown</Code><Message>slow down</Message></Error>")
            elif self.command == "PUT":
                kept[:] = [body]
                self.send(200, b"")
            else:
                self.send(200, kept[0])

        do_PUT = do_GET = answer  # noqa: N815 - names of the base class

        def send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base class
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", calls
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
