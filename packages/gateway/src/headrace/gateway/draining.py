"""The switch that a process throws when it wants to end: what runs goes on, what is new is refused."""

from headrace.schema.errors import ErrorCode, HeadraceError


class Draining:
    """Off until `begin`; never off again."""

    def __init__(self) -> None:
        self._begun = False

    def begin(self) -> None:
        """Take no more generations, and be unready from now on."""
        self._begun = True

    @property
    def has_begun(self) -> bool:
        """Whether it is on."""
        return self._begun

    def refuse_if_begun(self) -> None:
        """Refuse a new generation.

        Raises:
            HeadraceError: `shutting_down`.
        """
        if self._begun:
            raise HeadraceError(ErrorCode.SHUTTING_DOWN, "this server is shutting down; send the request again")
