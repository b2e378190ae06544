"""Bytes that processes of different versions exchange, kept as files.

A change of these bytes breaks a rolling update. Append to the wire; never change what a file here says.
"""
