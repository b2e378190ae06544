"""Which way a chunk takes, as a function of what is known about its address: values, with time passed in.

The broker says only that nobody reads an address; the relay says how many listen. So where there is a relay, an address
without a listener belongs to a process that is gone, and is given up almost at once; where there is none, it is given
up after a while, since its reader may be connecting again.
"""

from enum import Enum

from msgspec import Struct

# How often an address that was not read is tried again.
RETRY_SECONDS = 0.25
# An address of which nothing came back for this long is read again.
HEALED_SECONDS = 1.0
# A relay that failed is left alone for this long.
RELAY_PAUSE_SECONDS = 1.0
# A listener may be connecting to the relay again, so that nobody listens is asked twice.
UNHEARD_SECONDS = 0.2


class BrokerState(Enum):
    """What the broker's connection can do now."""

    OPEN = "open"
    SLOW = "slow"
    DOWN = "down"


class Way(Enum):
    """Where a chunk goes."""

    BROKER = "broker"
    RELAY = "relay"
    WAIT = "wait"
    NOBODY = "nobody"


class _Unread(Struct):
    """Since when, and when last, something for an address came back, and when it was tried again."""

    first: float
    last: float
    tried: float


class Routes:
    """What is known about the ways to each address.

    Args:
        has_relay: whether there is a way round the broker.
        unread_seconds: how long an address may go unread where no relay knows whether its reader lives.
    """

    def __init__(self, *, has_relay: bool, unread_seconds: float) -> None:
        self._has_relay = has_relay
        self._unread_seconds = unread_seconds
        self._unread: dict[str, _Unread] = {}
        self._unheard: dict[str, float] = {}
        self._relay_rests_until = 0.0

    @property
    def are_clear(self) -> bool:
        """Whether every address is read at the broker, as far as is known."""
        return not self._unread

    def note_returned(self, address: str, now: float) -> None:
        """Nobody reads the address at the broker."""
        known = self._unread.get(address)
        if known is None:
            self._unread[address] = _Unread(now, now, now)
        else:
            known.last = now

    def note_relayed(self, address: str, heard: int, now: float) -> None:
        """So many listen to the address at the relay."""
        if heard:
            self._unheard.pop(address, None)
        else:
            self._unheard.setdefault(address, now)

    def note_relay_down(self, now: float) -> None:
        """The relay did not answer."""
        self._relay_rests_until = now + RELAY_PAUSE_SECONDS

    def way_to(self, address: str, state: BrokerState, now: float) -> Way:
        """Return where a chunk for the address goes now."""
        unread = self._unread.get(address)
        if unread is not None and now - unread.last > HEALED_SECONDS:
            del self._unread[address]
            unread = None
        if state is BrokerState.OPEN and unread is None:
            return Way.BROKER
        if self._has_relay and now >= self._relay_rests_until:
            return self._relay_to(address, now)
        if state is not BrokerState.OPEN or unread is None:
            return Way.WAIT
        if unread.last - unread.first >= self._unread_seconds:
            del self._unread[address]
            return Way.NOBODY
        if now - unread.tried < RETRY_SECONDS:
            return Way.WAIT
        unread.tried = now
        return Way.BROKER

    def _relay_to(self, address: str, now: float) -> Way:
        since = self._unheard.get(address)
        if since is None:
            return Way.RELAY
        if now - since < UNHEARD_SECONDS:
            return Way.WAIT
        del self._unheard[address]
        self._unread.pop(address, None)
        return Way.NOBODY
