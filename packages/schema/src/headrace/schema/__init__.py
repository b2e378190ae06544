"""Headrace's values, names and bytes.

Everything that two processes must agree on lives here, and nothing else: Structs, their codecs, queue names, the table
of errors and the settings. No I/O and no clock, so that every other room can import it and every rule in it can be
tested as a function of values.
"""
