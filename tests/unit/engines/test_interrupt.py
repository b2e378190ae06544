import os
import signal
import time
from collections.abc import Iterator
from multiprocessing import get_context

import pytest

from headrace.worker.engines.base import EngineSetupError
from headrace.worker.engines.vllm.interrupt import interruptible_start

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture
def interrupted() -> list[int]:
    return []


@pytest.fixture(autouse=True)
def handler(interrupted: list[int]) -> Iterator[None]:
    """A handler that only notes the signal; what was there before comes back."""
    before = signal.signal(signal.SIGINT, lambda number, _: interrupted.append(number))
    yield
    signal.signal(signal.SIGINT, before)


def test_a_signal_kills_what_is_waited_for_and_reaches_its_handler(interrupted: list[int]) -> None:
    child = get_context("fork").Process(target=time.sleep, args=(60,))

    def start() -> None:
        with interruptible_start():
            child.start()
            os.kill(os.getpid(), signal.SIGINT)
            child.join()

    with pytest.raises(EngineSetupError, match="interrupted"):
        start()
    assert child.exitcode == -signal.SIGKILL
    assert interrupted == [signal.SIGINT]


def test_without_a_process_to_wait_for_the_handler_is_called_at_once(interrupted: list[int]) -> None:
    with interruptible_start():
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupted == [signal.SIGINT]


def test_other_processes_of_ours_are_left_alone(interrupted: list[int]) -> None:
    other = get_context("fork").Process(target=time.sleep, args=(60,))
    other.start()
    try:
        with interruptible_start():
            os.kill(os.getpid(), signal.SIGINT)
        assert other.is_alive()
        assert interrupted == [signal.SIGINT]
    finally:
        other.kill()
        other.join()
