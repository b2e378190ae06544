"""From a request to a stream of events: publish the task, and bring its chunks to whoever waits.

The gateway process hosts it as a library. It promises that every request it accepted ends with exactly one terminal
event, whatever happens to the worker, the broker or the client.
"""
