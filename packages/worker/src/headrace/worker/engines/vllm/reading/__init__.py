"""From what a model writes to what it says: reasoning, text and tool calls, as they come.

`base` is the contract of a reader; there is one reader for each sequence. `forced` reads calls that the grammar
forces, and `parsed` reads the model's own form with a parser of vLLM's. Where nothing of the kind was asked for, there
is no reader at all.
"""
