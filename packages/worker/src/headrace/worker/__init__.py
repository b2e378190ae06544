"""One replica: takes tasks from a model's queue, runs its engine, and streams chunks back.

The worker is a dramatiq worker whose messages run on the event loop. It promises that a task is run once at a time,
that a task nobody waits for stops costing engine time at once, and that a task is acknowledged only after its last
event was handed to the reply path.
"""
