"""Questions to a scheduler that nobody reads: values, with time passed in."""

from collections import OrderedDict

MOST_QUESTIONS = 4096


class UnreadQuestions:
    """Which questions went unread, since when. The oldest are forgotten first.

    Args:
        seconds: how long a scheduler may take to read again, because it is connecting.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: OrderedDict[str, float] = OrderedDict()

    def is_lost(self, request_id: str, now: float) -> bool:
        """Note that a question went unread, and tell whether that has been so for too long."""
        since = self._since.setdefault(request_id, now)
        if len(self._since) > MOST_QUESTIONS:
            self._since.popitem(last=False)
        if now - since < self._seconds:
            return False
        self._since.pop(request_id, None)
        return True
