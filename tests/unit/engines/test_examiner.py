"""Grammars are tried out in a process that may be killed, and that may crash."""

import os
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest

from headrace.worker.engines.vllm.grammar.constraint import Constraint, constrain
from headrace.worker.engines.vllm.trial import examiner as module
from headrace.worker.engines.vllm.trial.examiner import Examiner, ExaminerGoneError
from tests.support.process_tree import kill

pytestmark = pytest.mark.timeout(60)


def compile_badly(constraint: Constraint) -> Any:
    """What xgrammar may come to, by the grammar's text."""
    if constraint.text == "crash":
        # As the kernel ends what has run into something it should not have.
        os.kill(os.getpid(), signal.SIGKILL)
    if constraint.text == "memory":
        return [bytearray(1024**3) for _ in range(100)]
    while constraint.text == "spin":
        pass
    raise ValueError("[12:00:00] /src/a.cc:1: it is wrong\nat some length")


def children() -> set[psutil.Process]:
    return set(psutil.Process().children())


@contextmanager
def running(make: Callable[[], Any] = lambda: compile_badly) -> Generator[Examiner]:
    examiner = Examiner(make, cpu_seconds=1)
    try:
        yield examiner
    finally:
        examiner.close()


async def test_each_grammar_gets_its_answer_whatever_the_one_before_did() -> None:
    with running() as examiner:
        assert await examiner.examine(constrain("wrong")) == "it is wrong"
        assert "takes too much" in await examiner.examine(constrain("crash"))
        # Which limit it runs into first is the machine's business.
        reason = await examiner.examine(constrain("memory"))
        assert "takes too much" in reason or "can't be compiled" in reason
        assert await examiner.examine(constrain("wrong again")) == "it is wrong"


async def test_one_that_never_ends_is_killed() -> None:
    with running() as examiner:
        assert "takes too much" in await examiner.examine(constrain("spin"))


async def test_what_was_tried_is_known() -> None:
    others = children()
    with running() as examiner:
        first = await examiner.examine(constrain("wrong"))
        kill(children() - others)
        assert await examiner.examine(constrain("wrong")) == first
        with pytest.raises(ExaminerGoneError):
            await examiner.examine(constrain("new"))


def test_closing_leaves_no_process() -> None:
    others = children()
    with running():
        assert children() > others
    assert children() <= others
    assert module.TRIAL_CPU_SECONDS < module.TRIAL_SECONDS
