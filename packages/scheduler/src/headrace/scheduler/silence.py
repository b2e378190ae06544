"""How long no worker has said anything of an adopted generation, counted in looks."""

from msgspec import Struct

# A worker that waits asks every two seconds, and one that runs answers an announcement a second.
SILENT_SECONDS = 5.0
# No task that came less than so many silences ago is published again: by then whoever picks it up asks first.
YOUNGEST_SILENCES = 2
# Time in which this process, or the broker, stood still counts for one look at most.
SILENT_LOOKS = 5


class Silence(Struct):
    """One generation's.

    Attributes:
        looks: how often it was looked at since a worker was last heard.
        steps: how far up its copy of this silence was published; None where there is none.
        copy: the number of the last copy, in any silence.
        failures: how often no copy could be made.
    """

    looks: int = 0
    steps: int | None = None
    copy: int = 0
    failures: int = 0

    def hear(self) -> None:
        """A worker has it: what comes after this is another silence."""
        self.looks, self.steps, self.failures = 0, None, 0

    def begin_again(self) -> None:
        """Nobody could be heard up to now."""
        self.looks = 0

    @property
    def is_lasting(self) -> bool:
        """Whether it has lasted long enough."""
        return self.looks >= SILENT_LOOKS

    def look(self) -> bool:
        """Count a look, and tell whether it has lasted long enough."""
        self.looks += 1
        return self.is_lasting

    def wants(self, steps: int) -> bool:
        """Tell whether a copy so far up is one more than there is."""
        return self.steps is None or steps > self.steps

    def number(self, least: int) -> int:
        """Return the number of the next copy, higher than any before."""
        self.copy = max(self.copy + 1, least)
        return self.copy

    def note_published(self, steps: int) -> None:
        """A copy is on its way."""
        self.steps, self.failures = steps, 0

    def refuse(self) -> None:
        """The broker did not take the copy: there is to be another one, in a while."""
        self.looks, self.steps = 0, None

    def fail(self) -> int:
        """No copy could be made; return how often that was so. It is tried again in a while."""
        self.looks = 0
        self.failures += 1
        return self.failures
