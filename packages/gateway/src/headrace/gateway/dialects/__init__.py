"""The public APIs that we speak, each in a room of its own: wire, parse, render, stream, errors, routes."""
