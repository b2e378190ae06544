"""Bytes that processes of different versions exchange, kept as files, one folder for each version of the wire.

What a file here says is never changed: a process of that version may have written it, or may have to read it. When the
wire grows, a new folder is added with a module of values of its own; today's code writes the newest folder byte for
byte, and reads every folder.
"""
