"""Outside providers: our requests in their words, and their answers as our events."""
