"""What cached things depend on beside their inputs: installed versions, the gate's and the user's code."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import gate
from gate.core.canonical import JsonValue
from gate.core.convert import to_plain
from gate.core.spec import ModelSpec
from gate.spec.project import project_root, trusted_modules

ARITHMETIC = (
    "ai-edge-litert",
    "keras",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "pillow",
    "safetensors",
    "scikit-learn",
    "tensorflow",
    "tensorflow-cpu",
    "torch",
    "torchao",
    "torchvision",
)
"""Distributions of which another version may give other numbers."""
_DIGESTED = frozenset({"path", "sha256", "weights"})
"""Options of sources that say where content is: it is in the model's digest, wherever it lies."""


@cache
def installed_versions() -> Mapping[str, str]:
    """Version of each distribution of ``ARITHMETIC`` that is installed."""
    found = {}
    for name in ARITHMETIC:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def gate_sources(*stations: str) -> str:
    """SHA-256 over the gate's own code of ``stations``: changed code makes things anew."""
    root = Path(gate.__file__).parent
    files = (file for station in stations for file in (root / station).rglob("*.py"))
    return _sources(root, files)


def told_of(model: ModelSpec) -> dict[str, JsonValue]:
    """What the spec says of a model and its content does not: a training loss goes by the task, an
    export by the inputs, and calibration of a file by its own transforms."""
    return {
        "task": model.task,
        "inputs": to_plain(model)["inputs"],
        "source": {k: v for k, v in model.options.items() if k not in _DIGESTED},
    }


def entry_sources(options: JsonValue) -> Mapping[str, str]:
    """Where there is an ``entry: package.module:callable`` in ``options``: SHA-256 over all Python files
    of its top package and of those of all trusted modules, which it may import; empty where there is none.

    A change anywhere in the user's code may change what an entry gives. Other files that the code reads
    are not followed.
    """
    named = list(_entries(options))
    if not named:
        return {}
    root = project_root()
    modules = [*trusted_modules(), *(entry.partition(":")[0] for entry in named)]
    packages = sorted({module.partition(".")[0] for module in modules})
    return {package: _package_sources(package, root) for package in packages}


def _entries(value: JsonValue) -> Iterable[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key == "entry" and isinstance(item, str):
                yield item
            else:
                yield from _entries(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _entries(item)


@cache
def _package_sources(package: str, root: Path) -> str:
    # The root is where entries are imported from, also before the first of them is.
    spec = PathFinder.find_spec(package, [str(root)]) or importlib.util.find_spec(package)
    if spec is None:
        return "absent"
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    if folders:
        return ";".join(_sources(folder, folder.rglob("*.py")) for folder in folders)
    return _sources(Path(spec.origin).parent, [Path(spec.origin)]) if spec.origin else "built in"


def _sources(root: Path, files: Iterable[Path]) -> str:
    total = hashlib.sha256()
    for file in sorted(files):
        total.update(f"{file.relative_to(root).as_posix()}\0".encode())
        total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()
