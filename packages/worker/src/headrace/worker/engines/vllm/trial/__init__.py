"""Trying a grammar out before the engine gets it.

The engine compiles grammars in a process that all requests share, on one thread, and asks them for a mask at every
token: one that takes minutes, gigabytes or seconds a token there is everybody's trouble. So each new grammar is tried
in a process of its own first, which is killed when it takes too long.
"""
