import os
import sys
from multiprocessing import get_context
from multiprocessing.connection import Connection
from threading import Thread

import pytest

from headrace.worker.engines.vllm.children import guard_children


def tell_group(pipe: Connection) -> None:
    pipe.send((os.getpid(), os.getpgid(0)))


def fork_and_ask() -> tuple[int, int]:
    context = get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=tell_group, args=(theirs,))
    child.start()
    told: tuple[int, int] = ours.recv()
    child.join()
    return told


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_leaves_our_group_only_while_guarded() -> None:
    with guard_children():
        pid, group = fork_and_ask()
    assert group == pid
    _, group = fork_and_ask()
    assert group == os.getpgid(0)


def test_only_the_main_thread_may_make_an_engine() -> None:
    errors: list[RuntimeError] = []

    def guard() -> None:
        try:
            with guard_children():
                pass
        except RuntimeError as error:
            errors.append(error)

    thread = Thread(target=guard)
    thread.start()
    thread.join()
    assert len(errors) == 1
