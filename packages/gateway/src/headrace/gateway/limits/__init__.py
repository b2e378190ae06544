"""What is left of limits over HTTP: to each caller its own, to administrators those of every key and tenant."""
