"""Weights: from a model setting to a folder that an engine can load.

The room promises that a folder it returns is whole, that two processes which ask at once get one folder, and that a
damaged one is made again. It blocks and uses the disk, so it is called before there is an event loop. It never
prints: progress goes to a callback. It needs no torch: conversion works on `gguf`, numpy and `tokenizers` alone.
"""

from headrace.models.demo import DEMO_MODEL_NAME, ensure_demo_model
from headrace.models.errors import WeightsError
from headrace.models.manifest import Manifest, ManifestFile, ModelOrigin, find_damaged_files, is_finished
from headrace.models.progress import ProgressCallback, ignore_progress
from headrace.models.sources import DEMO_SOURCE, TINY_SOURCE, resolve_weights
from headrace.models.tiny import TINY_MAX_TOKENS, TINY_MODEL_NAME, write_tiny_model

__all__ = [
    "DEMO_MODEL_NAME",
    "DEMO_SOURCE",
    "TINY_MAX_TOKENS",
    "TINY_MODEL_NAME",
    "TINY_SOURCE",
    "Manifest",
    "ManifestFile",
    "ModelOrigin",
    "ProgressCallback",
    "WeightsError",
    "ensure_demo_model",
    "find_damaged_files",
    "ignore_progress",
    "is_finished",
    "resolve_weights",
    "write_tiny_model",
]
