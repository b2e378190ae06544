"""`headrace stack`: the whole of Headrace on one machine, in the processes that a cluster would have.

A private RabbitMQ and Redis, two gateways and some workers run under supervisord, so that killing any of them shows
what happens then: it comes back, and the streams go on. It promises that nothing outlives it, however it ends.
"""

from headrace.apps.cli.stack.options import StackOptions
from headrace.apps.cli.stack.run import run_stack

__all__ = ["StackOptions", "run_stack"]
