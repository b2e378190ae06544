"""The vLLM engine: our words on one side, vLLM's on the other.

Nothing outside this folder imports vLLM or torch, and importing this package does not either: it is heavy, and it may
not be installed. Inside, `library` is the only module that touches vLLM's own types. What can be decided without it
(sampling parameters, arguments, folding outputs into events) is in modules of plain functions, which have tests that
need no engine.
"""
