"""What says what becomes of a generation whose HTTP call died with its gateway."""

from collections.abc import Sequence

from headrace.gateway.call import Call
from headrace.gateway.dialects.base import Order
from headrace.gateway.dialects.native.errors import NativeDialect
from headrace.gateway.dialects.native.stream import NativeRendering
from headrace.gateway.facts import GatewayObserver
from headrace.scheduler.base import Submission


def adopted_call(submission: Submission, observers: Sequence[GatewayObserver]) -> Call:
    """Return the call; which dialect the first one spoke is not known any more, so it counts as native."""
    order = Order(submission=submission, dialect=NativeDialect(), rendering=NativeRendering(submission), stream=True)
    return Call(order, observers)
