"""The keys that a gateway knows by heart: bounded, the least used is forgotten first. Time is passed in."""

from collections import OrderedDict

from headrace.accounts.directory.lookup import Changed, KnownKey, Loaded

UNKNOWN_SECONDS = 5.0
"""How long it is remembered that there is no key of a prefix; a new key makes all of that forgotten."""


class KeyMemory:
    """Remembers keys by prefix, and that there is none.

    Args:
        most: how many of each.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[str, KnownKey] = OrderedDict()
        self._prefixes: dict[str, set[str]] = {}
        self._unknown: OrderedDict[str, float] = OrderedDict()
        self._number: int | None = None

    @property
    def number(self) -> int | None:
        """The newest change that has been taken in; None before the first."""
        return self._number

    def find(self, prefix: str) -> KnownKey | None:
        """Return what is known of a prefix."""
        if (key := self._known.get(prefix)) is not None:
            self._known.move_to_end(prefix)
        return key

    def find_id(self, key_id: str) -> KnownKey | None:
        """Return what is known of a key."""
        return next((self._known[prefix] for prefix in self._prefixes.get(key_id, ())), None)

    def is_unknown(self, prefix: str, *, now: float) -> bool:
        """Tell whether there was no key of a prefix a moment ago."""
        return self._unknown.get(prefix, now) > now

    def remember(self, prefix: str, loaded: Loaded, *, now: float) -> None:
        """Take in what was loaded, unless something has changed since it was read."""
        if self._number is None or loaded.number < self._number:
            return
        if loaded.key is None:
            self._unknown[prefix] = now + UNKNOWN_SECONDS
            self._unknown.move_to_end(prefix)
            if len(self._unknown) > self._most:
                self._unknown.popitem(last=False)
            return
        self._known[loaded.key.prefix] = loaded.key
        self._known.move_to_end(loaded.key.prefix)
        self._prefixes.setdefault(loaded.key.caller.key_id, set()).add(loaded.key.prefix)
        if len(self._known) > self._most:
            self._forget(next(iter(self._known)))

    def take(self, changed: Changed) -> None:
        """Forget what has changed."""
        if changed.number != self._number:
            self._unknown.clear()
        self._number = changed.number
        if changed.too_many:
            self._known.clear()
            self._prefixes.clear()
            return
        if not changed.tenant_ids and not changed.key_ids:
            return
        for prefix, key in list(self._known.items()):
            if key.caller.key_id in changed.key_ids or key.caller.tenant_id in changed.tenant_ids:
                self._forget(prefix)

    def _forget(self, prefix: str) -> None:
        key_id = self._known.pop(prefix).caller.key_id
        prefixes = self._prefixes[key_id]
        prefixes.discard(prefix)
        if not prefixes:
            del self._prefixes[key_id]
