"""The gateways of a run, one of which may be gone: clients go to one that is there."""

from collections.abc import Sequence

from tests.support.processes import Process


class Gateway:
    """One gateway process after the other, at one address.

    Attributes:
        address: of all of them.
        process: the one that runs, or ran last.
        kills: how many were killed.
        is_up: whether it answers.
    """

    def __init__(self, address: str, process: Process) -> None:
        self.address = address
        self.process = process
        self.kills = 0
        self.is_up = True

    def kill(self) -> None:
        """End it without a word. What breaks at a client after this is no surprise, so it is counted first."""
        self.is_up = False
        self.kills += 1
        self.process.child.kill()
        self.process.child.wait()

    def take_over(self, process: Process) -> None:
        """Go on with another process, which answers."""
        self.process = process
        self.is_up = True


def choose(gateways: Sequence[Gateway], number: int) -> Gateway:
    """Return a gateway that is there, another one for another number."""
    up = [gateway for gateway in gateways if gateway.is_up] or gateways
    return up[number % len(up)]
