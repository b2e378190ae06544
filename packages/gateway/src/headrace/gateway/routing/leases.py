"""Providers while they are used: one that the settings drop is closed when its last stream has ended.

A lease is one provider as the settings described it. When they describe it otherwise, there is another lease: a request
that began with one never finds itself at the other, which may be somewhere else.
"""

from collections.abc import Callable, Mapping, Sequence

from msgspec import structs

from headrace.gateway.routing.breaker import BreakerRules
from headrace.gateway.routing.facts import RoutingObserver
from headrace.gateway.routing.health import TargetHealth
from headrace.providers.base import Provider
from headrace.schema.settings import ProviderSettings
from headrace.transport.tasks import TaskOwner

MakeProvider = Callable[[str, ProviderSettings], Provider]


class ProviderLease:
    """A provider, who uses it, and how its models fare.

    Attributes:
        provider: whom to call.
        settings: as it was made.

    Args:
        provider: whom to call.
        settings: as it was made.
        rules: of its targets' breakers.
        observers: are told how its targets fare.
        close: closes it, once it is retired and unused.
    """

    def __init__(
        self,
        provider: Provider,
        settings: ProviderSettings,
        *,
        rules: BreakerRules,
        observers: Sequence[RoutingObserver],
        close: Callable[[Provider], None],
    ) -> None:
        self.provider = provider
        self.settings = settings
        self._rules = rules
        self._observers = observers
        self._close = close
        self._users = 0
        self._is_retired = False
        self._health: dict[str, TargetHealth] = {}

    def health(self, model: str) -> TargetHealth:
        """Return how one of its models fares."""
        if model not in self._health:
            self._health[model] = TargetHealth(f"{self.provider.name}/{model}", self._rules, self._observers)
        return self._health[model]

    def take(self) -> None:
        """Begin to use it."""
        self._users += 1

    def give_back(self) -> None:
        """Use it no more."""
        self._users -= 1
        self._close_if_unused()

    def retire(self) -> None:
        """Let nobody new use it, and close it when the last who does is done."""
        self._is_retired = True
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._is_retired and not self._users:
            self._close(self.provider)


class ProviderPool:
    """The leases of the providers that the settings have now.

    Args:
        make: makes a provider; it may raise, and then nothing has changed.
        rules: of the breakers.
        observers: are told how targets fare.
    """

    def __init__(self, make: MakeProvider, *, rules: BreakerRules, observers: Sequence[RoutingObserver]) -> None:
        self._make = make
        self._rules = rules
        self._observers = observers
        self._leases: dict[str, ProviderLease] = {}
        self._closing = TaskOwner()

    def prepare(self, providers: Mapping[str, ProviderSettings]) -> dict[str, ProviderLease]:
        """Return a lease for each provider: the one that there is, where its settings are the same.

        Nothing is retired before `adopt`; what was made for nothing is let go with `discard`.
        """
        leases: dict[str, ProviderLease] = {}
        try:
            for name, settings in providers.items():
                known = self._leases.get(name)
                leases[name] = known if known and _is_same(known.settings, settings) else self._open(name, settings)
        except BaseException:
            self.discard(leases)
            raise
        return leases

    def adopt(self, leases: Mapping[str, ProviderLease]) -> None:
        """Make these the leases of now, and retire the others."""
        before, self._leases = self._leases, dict(leases)
        for name, lease in before.items():
            if self._leases.get(name) is not lease:
                lease.retire()

    def discard(self, leases: Mapping[str, ProviderLease]) -> None:
        """Let go of leases that were prepared and not adopted."""
        for name, lease in leases.items():
            if self._leases.get(name) is not lease:
                lease.retire()

    def _open(self, name: str, settings: ProviderSettings) -> ProviderLease:
        return ProviderLease(
            self._make(name, settings),
            settings,
            rules=self._rules,
            observers=self._observers,
            close=self._begin_to_close,
        )

    def _begin_to_close(self, provider: Provider) -> None:
        self._closing.start(provider.close(), name=f"close provider {provider.name}")

    async def close(self) -> None:
        """Close every provider, when nobody uses any."""
        self.adopt({})
        await self._closing.join()


def _is_same(before: ProviderSettings, after: ProviderSettings) -> bool:
    """Tell whether a provider stays as it is: what it is listed with is not its own matter."""
    return structs.replace(before, models=()) == structs.replace(after, models=())
