"""The worker process: settings in, one engine, tasks out of the queue."""
