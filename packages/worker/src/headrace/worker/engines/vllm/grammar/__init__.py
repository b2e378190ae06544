"""Grammars for what a model may say: JSON that a schema accepts, a regular expression, one of some texts, tool calls.

vLLM's backends take JSON Schema themselves, and each of them ignores some of its keywords silently; the engine's
process even uses one backend for everything, whichever the first request chose. So the grammars are written here, in
the EBNF notation of xgrammar, under one rule: what is written may be narrower than what the client allows, and never
wider. What can't be kept to is refused by name.

These are functions of values: nothing here needs vLLM.
"""
