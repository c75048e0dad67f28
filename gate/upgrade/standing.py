"""What a kept result rests on beside its spec: the files that this names, the user's code, the gate."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gate.core.canonical import digest
from gate.core.case import Case
from gate.core.convert import to_plain
from gate.run.identity import entry_sources, gate_sources

_STATIONS = ("backends", "core", "data", "metrics", "models", "quantize", "run", "spec", "tiers")
"""What measures. Judging is done anew each time."""


def standing(case: Case) -> str:
    """SHA-256 over what decides a result of ``case`` and is not in its spec's digest.

    Files go by name, size and time of change: they may be large, and one that was touched for nothing
    costs a run. Beside a file the others whose names begin with its own count too (external data
    of ONNX); of a folder, all that is in it but what hidden folders hold.
    """
    options = [
        case.model.options,
        case.model.decoding,
        case.quantization.options,
        to_plain(case.data),
        to_plain(list(case.metrics)),
    ]
    seen = {
        str(file): [file.stat().st_size, file.stat().st_mtime_ns]
        for named in _paths(options)
        for file in _files(named)
    }
    return digest(
        {"files": seen, "entries": entry_sources(options), "gate": gate_sources(*_STATIONS)}
    )


def _paths(value: Any) -> Iterator[Path]:
    """Absolute paths anywhere in ``value``: those of a spec are, once it is read."""
    if isinstance(value, str):
        # Unlike ``Path.exists`` this raises nothing for text that can be no name.
        if value.startswith("/") and os.path.exists(value):  # noqa: PTH110
            yield Path(value)
    elif isinstance(value, Mapping):
        for below in value.values():
            yield from _paths(below)
    elif isinstance(value, list | tuple):
        for below in value:
            yield from _paths(below)


def _files(named: Path) -> Iterator[Path]:
    if named.is_dir():
        for folder, below, names in os.walk(named):
            # The gate's own folder is hidden, and changes with every run.
            below[:] = [name for name in below if not name.startswith(".")]
            yield from (path for name in names if (path := Path(folder, name)).is_file())
        return
    yield from (p for p in named.parent.iterdir() if p.name.startswith(named.name) and p.is_file())
