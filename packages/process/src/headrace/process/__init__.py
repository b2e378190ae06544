"""What every Headrace process does at its start and at its end, so that all of them do it alike.

Only the apps use this room. It reads the settings file and takes the environment as an argument, sets up the log, and
turns signals into one event.
"""
