"""A process that imports a backend, waits for its role, and plays it."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from gate import plugins
from gate.backends.base import Backend, ImportingBackend
from gate.run.launch_child import launch
from gate.run.probe_child import probe

ROLES: Mapping[str, Callable[[Path, int], None]] = {"launch": launch, "probe": probe}
"""What a companion does with the folder of its job and the descriptor that it answers on."""


def serve(backend: str) -> None:
    """Get ready for models of ``backend``, then do what the first line of the standard input says."""
    # What a library prints must not be taken for an answer.
    channel = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    plugin: Backend = plugins.load("backends", backend)
    if isinstance(plugin, ImportingBackend):
        importlib.import_module(plugin.runtime)
    line = sys.stdin.buffer.readline()
    if not line:
        return  # the worker had no need of it, or is gone
    role, folder = json.loads(line)
    ROLES[role](Path(folder), channel)
