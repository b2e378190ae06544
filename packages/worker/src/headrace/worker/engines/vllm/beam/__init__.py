"""Beam search on the vLLM engine: the likeliest answers, in place of sampled ones.

`search` is the algorithm, in functions of values. `runner` drives the engine with it, one token a step and one request
for each live beam, which the engine's prefix cache makes cheap. `grammar` keeps a state of the constraint for every
beam, and `scheduler`, inside the engine's process, applies the masks that come of it. `streams` turns what is certain
about the answers into text as soon as it is. What leaves this room has the form of vLLM's own outputs, so whatever
reads those reads these.
"""
