"""torch's process-wide settings for the length of a block: quantized engine, threads, warnings."""

from __future__ import annotations

import contextlib
import platform
import warnings
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from gate.core.canonical import JsonValue

ENGINES = ("x86", "fbgemm", "onednn", "qnnpack")
"""Quantized kernel libraries of torch on CPUs."""

# What torch.ao says about itself on every call. Its removal is met by ``ao_unavailable``; the others
# are about defaults that the gate sets on purpose.
_KNOWN_WARNINGS = (
    (DeprecationWarning, r".*torch\.ao\.quantization is deprecated.*"),
    (UserWarning, r".*Please use quant_min and quant_max to specify the range.*"),
    (UserWarning, r".*reduce_range will be deprecated.*"),
    (UserWarning, r".*TypedStorage is deprecated.*"),
    (UserWarning, r".*must run observer before calling calculate_qparams.*"),
    (UserWarning, r".*quantized tensor.*deprecat.*"),
)


def default_engine() -> str:
    """The engine that torch itself prefers on this kind of processor."""
    return "qnnpack" if platform.machine().lower() in ("aarch64", "arm64") else "x86"


def engine_of(options: Mapping[str, JsonValue]) -> str:
    """The engine that a target names, or the default one."""
    return str(options.get("engine", default_engine()))


def torch_unavailable() -> str | None:
    """Why torch is not here, without importing it; None where it is."""
    if find_spec("torch") is None:
        return "torch is not installed: pip install 'quantgate[torch]'"
    return None


def ao_unavailable() -> str | None:
    """Why torch's own quantization is not here, without importing torch; None where it is."""
    if reason := torch_unavailable():
        return reason
    spec = find_spec("torch")
    folders = (spec.submodule_search_locations or []) if spec else []
    if not any(
        (Path(folder) / "ao" / "quantization" / "quantize_fx.py").is_file() for folder in folders
    ):
        return (
            "this torch has no torch.ao.quantization (removed in favour of torchao): install a torch "
            "that has it, or quantize with torchao through the 'python' method"
        )
    return None


def engine_unavailable(engine: str) -> str | None:
    """Why an engine cannot be used by the torch that is installed; None where it can."""
    import torch

    supported = torch.backends.quantized.supported_engines
    if engine not in supported:
        return (
            f"this build of torch {torch.__version__} has no quantized engine '{engine}' "
            f"(it has {', '.join(e for e in supported if e != 'none') or 'none'})"
        )
    return None


@contextlib.contextmanager
def torch_settings(*, engine: str, threads: int) -> Iterator[None]:
    """Use an engine and a number of intra-op threads inside, and put back what was set before."""
    import torch

    before = torch.backends.quantized.engine, torch.get_num_threads()
    try:
        torch.backends.quantized.engine = engine
        torch.set_num_threads(threads)
        yield
    finally:
        torch.backends.quantized.engine = before[0]
        torch.set_num_threads(before[1])


@contextlib.contextmanager
def quiet_torch_ao() -> Iterator[None]:
    """Silence the warnings that torch.ao gives about itself, and no others."""
    with warnings.catch_warnings():
        for category, message in _KNOWN_WARNINGS:
            warnings.filterwarnings("ignore", category=category, message=message)
        yield
