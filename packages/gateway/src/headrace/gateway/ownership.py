"""Whose the calls are that run here, so that nobody touches another tenant's by its id."""

from headrace.gateway.facts import CallEnded, CallOpened, RequestRefusal
from headrace.schema.caller import Caller


class RunningCalls:
    """A `GatewayObserver` that knows the tenant of every call between its opening and its end."""

    def __init__(self) -> None:
        self._tenants: dict[str, str] = {}

    def belongs_to(self, request_id: str, caller: Caller) -> bool:
        """Tell whether a caller may see a call; one without a tenant runs the gateway, and may see all."""
        return not caller.tenant_id or self._tenants.get(request_id) == caller.tenant_id

    def call_opened(self, fact: CallOpened) -> None:
        """Take in whose it is."""
        self._tenants[fact.request_id] = fact.tenant_id

    def call_ended(self, fact: CallEnded) -> None:
        """Forget it."""
        self._tenants.pop(fact.call.request_id, None)

    def request_refused(self, fact: RequestRefusal) -> None:
        """Nothing ran."""
