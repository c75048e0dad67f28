"""The TensorFlow process beside this one: asked for what only TensorFlow can do, never imported here.

TensorFlow and the other frameworks disagree about shared libraries and memory; a process of its own also
lets it live in another environment: ``GATE_TENSORFLOW_PYTHON`` names that one's interpreter.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from packaging.version import Version

from gate.core.canonical import JsonValue
from gate.models.base import LoadedModel, ModelError

INTERPRETER = "GATE_TENSORFLOW_PYTHON"
IDLE_SECONDS = 30.0
"""After which the process ends by itself: it holds half a gigabyte."""
PACKAGES = ("tensorflow", "tensorflow-cpu", "keras")
OLDEST_KERAS = "3.12"
"""Before it, files get past ``safe_mode`` in several ways (CVE-2025-1550 and those that followed)."""
_CHILD = Path(__file__).with_name("_tensorflow_child.py")
_QUIET = {
    "CUDA_VISIBLE_DEVICES": "",
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "TF_DETERMINISTIC_OPS": "1",
    "TF_ENABLE_ONEDNN_OPTS": "0",
}


def missing() -> str | None:
    """Why there is no TensorFlow and how to get it; None where there is."""
    other = os.environ.get(INTERPRETER)
    if other:
        if not Path(other).is_file():
            return f"{INTERPRETER} names {other}, which is no interpreter"
        if not _versions_of(other):
            return f"{INTERPRETER} names {other}, which has no TensorFlow"
    elif find_spec("tensorflow") is None:
        return (
            "TensorFlow is not installed: pip install 'quantgate[tflite]', or set"
            f" {INTERPRETER} to the interpreter of an environment that has it"
        )
    keras = versions().get("keras")
    if keras is None or Version(keras) < Version(OLDEST_KERAS):
        found = (
            f"Keras {keras} is too old, since files get past its safe mode"
            if keras
            else "there is no Keras"
        )
        return f"{found} in {other or sys.executable}: pip install 'keras>={OLDEST_KERAS}' there"
    return None


def versions() -> Mapping[str, str]:
    """Distribution -> version of what the process would use."""
    other = os.environ.get(INTERPRETER)
    if other:
        return _versions_of(other)
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def recipe_of(model: LoadedModel) -> dict[str, JsonValue]:
    """How the process gets a Keras model: from its file, or by what its source wrote down."""
    return {"path": str(model.path)} if model.path is not None else dict(model.module)


def ask(do: str, recipe: Mapping[str, JsonValue], **request: JsonValue) -> dict[str, Any]:
    """Have the process do something with the model of ``recipe``.

    Args:
        do: ``describe``, ``convert`` (``out``, ``inputs``, ``mode``, ``io``, ``per_channel``,
            ``float_fallback``, ``calibration``), ``run`` (``inputs``, ``out``, ``capture``) or
            ``save`` (``out``).
        recipe: ``path`` (a ``.keras`` file), ``application`` or ``entry``, with ``kwargs``,
            ``weights`` and ``seed``.
        request: what ``do`` takes.

    Raises:
        ModelError: there is no TensorFlow, it refuses, or the process ends.
    """
    if reason := missing():
        raise ModelError(reason)
    line = json.dumps({"do": do, "model": dict(recipe), **request}).encode() + b"\n"
    child = _child()
    found = child.ask(line)
    if found is None:  # it had ended idle, between two requests
        child.close()
        found = _child().ask(line)
    if found is None:
        raise ModelError("the TensorFlow process ended; what it printed tells why")
    if "refused" in found:
        raise ModelError(str(found["refused"]))
    return dict(found["ok"])


class _Child:
    """One running process."""

    def __init__(self) -> None:
        python = os.environ.get(INTERPRETER) or sys.executable
        self._process = subprocess.Popen(  # noqa: S603 - our own script, an interpreter of the user's
            [python, "-I", str(_CHILD), str(IDLE_SECONDS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **_QUIET},
        )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, line: bytes) -> dict[str, Any] | None:
        """The answer; None where the process ended first."""
        assert self._process.stdin is not None  # noqa: S101 - both are pipes
        assert self._process.stdout is not None  # noqa: S101
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except OSError:
            return None
        return json.loads(answer) if answer else None

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):  # it is gone
                self._process.stdin.close()
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


_running: list[_Child] = []


def _child() -> _Child:
    if _running and not _running[0].alive:
        _running.pop().close()
    if not _running:
        _running.append(_Child())
    return _running[0]


def close() -> None:
    """End the process, where one runs; the next question starts another."""
    while _running:
        _running.pop().close()


atexit.register(close)


@cache
def _versions_of(python: str) -> Mapping[str, str]:
    program = (
        "import json, sys\nfrom importlib.metadata import PackageNotFoundError, version\nfound = {}\n"
        "for name in sys.argv[1:]:\n    try:\n        found[name] = version(name)\n"
        "    except PackageNotFoundError:\n        pass\nprint(json.dumps(found))"
    )
    try:
        done = subprocess.run(  # noqa: S603 - an interpreter that the user names
            [python, "-I", "-c", program, *PACKAGES],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        found: dict[str, str] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return {}
    return found if "keras" in found else {}
