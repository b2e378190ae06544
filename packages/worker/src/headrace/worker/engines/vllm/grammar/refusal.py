"""Why there is no grammar for something."""


class GrammarRefusedError(Exception):
    """A client asked for a form that can't be kept to.

    Attributes:
        reason: what is at fault, by name; it holds keywords and names of properties, and no values.
        place: where in a schema, once that is known.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.place: str | None = None


class NothingFitsError(GrammarRefusedError):
    """No value can meet these conditions: a branch without one is left out, and refused if it is the only one."""
