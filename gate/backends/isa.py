"""What this processor is: model name and the instruction sets that select other integer kernels.

Pure reads of what the operating system tells; no framework, so that every backend describes the
same machine in the same words.
"""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from gate.core.environment import Environment

_CPUINFO = Path("/proc/cpuinfo")
_MACHINES = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}
_AVX512 = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl"})
"""The four that integer kernels require together; a part of them selects nothing."""
_COVERED = {"avx2": "avx512", "avx_vnni": "avx512_vnni"}
"""Where the right one is there, integer kernels never take the left: it says nothing more."""
# Spelling of the operating system -> the gate's.
_FLAGS = {
    "avx2": "avx2",
    "avx_vnni": "avx_vnni",
    "avxvnni": "avx_vnni",
    "avx512_vnni": "avx512_vnni",
    "avx512vnni": "avx512_vnni",
    "amx_int8": "amx_int8",
    "asimd": "neon",
    "neon": "neon",
    "advsimd": "neon",
    "asimddp": "dotprod",
    "feat_dotprod": "dotprod",
    "i8mm": "i8mm",
    "feat_i8mm": "i8mm",
    "sve": "sve",
}


def collapse(flags: Iterable[str]) -> tuple[str, ...]:
    """Reduce the operating system's CPU flags to those that select other integer kernels, sorted.

    ``avx512f``, ``bw``, ``dq`` and ``vl`` together become ``avx512``, which covers ``avx2``, as
    ``avx512_vnni`` covers ``avx_vnni``; ``asimddp`` is ``dotprod``.
    """
    present = {flag.lower() for flag in flags}
    found = {ours for theirs, ours in _FLAGS.items() if theirs in present}
    if present >= _AVX512:
        found.add("avx512")
    return tuple(sorted(found - {less for less, more in _COVERED.items() if more in found}))


def parse_cpuinfo(text: str) -> tuple[str, tuple[str, ...]]:
    """Model name and instruction sets out of the text of ``/proc/cpuinfo`` (x86 and ARM)."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip().lower(), value.strip())
    flags = fields.get("flags", fields.get("features", "")).split()
    model = fields.get("model name", "")
    if not model and "cpu part" in fields:  # ARM kernels give numbers only
        model = f"ARM {fields.get('cpu implementer', '?')}/{fields['cpu part']}"
    return model, collapse(flags)


def parse_sysctl(text: str) -> tuple[str, tuple[str, ...]]:
    """Model name and instruction sets out of ``sysctl machdep.cpu hw.optional`` of macOS."""
    model, flags = "", []
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key == "machdep.cpu.brand_string":
            model = value.strip()
        elif key.startswith("machdep.cpu.") and key.endswith("features"):
            flags += value.split()
        elif key.startswith("hw.optional.") and value.strip() == "1":
            flags.append(re.split(r"[.]", key)[-1])
    return model, collapse(flags)


@cache
def _read() -> tuple[str, tuple[str, ...]]:
    if _CPUINFO.is_file():
        return parse_cpuinfo(_CPUINFO.read_text(encoding="utf-8", errors="replace"))
    if platform.system() == "Darwin":
        told = subprocess.run(
            ["/usr/sbin/sysctl", "machdep.cpu", "hw.optional"],
            capture_output=True,
            text=True,
            check=False,  # a key that this machine lacks is no fault: the others are printed
            timeout=10,
        )
        return parse_sysctl(told.stdout)
    return "", ()


def system() -> str:
    """``linux``, ``darwin`` or ``windows``."""
    return platform.system().lower()


def machine() -> str:
    """``x86_64``, ``aarch64`` or what the platform calls itself."""
    name = platform.machine().lower()
    return _MACHINES.get(name, name)


def cpu_model() -> str:
    """Name of the processor for people; the platform's own where the system tells none."""
    return _read()[0] or platform.processor() or machine()


def isa() -> tuple[str, ...]:
    """Sorted instruction sets that select other integer kernels; empty where the system tells none."""
    return _read()[1]


def environment(
    *, backend: str, engine: str, threads: int, versions: Mapping[str, str]
) -> Environment:
    """This machine with a backend's own part of the surroundings."""
    return Environment(
        system=system(),
        machine=machine(),
        cpu_model=cpu_model(),
        isa=isa(),
        backend=backend,
        engine=engine,
        threads=threads,
        versions=dict(versions),
    )
