"""What can change numbers: machine, instruction sets, runtime, engine, threads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The surroundings in which an observation was taken."""

    system: str
    """``linux``, ``darwin`` or ``windows``."""
    machine: str
    """``x86_64`` or ``aarch64``."""
    cpu_model: str
    isa: tuple[str, ...]
    """Instruction sets that select other integer kernels, sorted: ``avx2``, ``avx512_vnni`` ..."""
    backend: str
    engine: str
    """Kernel library inside the backend: ``x86``, ``fbgemm``, ``onednn``, ``qnnpack``, ``mlas``."""
    threads: int
    versions: Mapping[str, str] = field(default_factory=dict)
    """Distribution name -> version of everything that takes part in the arithmetic."""

    @property
    def environment_class(self) -> str:
        """Name under which baselines are comparable, safe as a file name.

        Versions are left out on purpose: telling an old runtime from a new one on the same kind of
        machine is what a baseline is for. They are kept in the baseline and shown when they differ.
        """
        return "-".join((self.system, self.machine, *(self.isa or ("generic",))))
