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
        return DEFAULT_COMPARABILITY.class_of(self)


NARROWING = ("cpu_model", "threads", "runtime", "versions")
"""Facts that a spec may add to what must agree: the processor's name, the number of threads, the
version of the runtime itself, the versions of everything that takes part in the arithmetic."""
WIDENING = ("isa", "system", "machine")
"""Facts that must agree unless a spec leaves them out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparability:
    """Which environments a spec takes for one: the classes under which its baselines are kept."""

    narrow: tuple[str, ...] = ()
    """Members of :data:`NARROWING`, in that order."""
    widen: tuple[str, ...] = ()
    """Members of :data:`WIDENING`, in that order."""

    def __bool__(self) -> bool:
        return bool(self.narrow or self.widen)

    def class_of(self, environment: Environment) -> str:
        """Name of the class, safe as a part of a file name but for what names of processors hold.

        >>> here = Environment(system="linux", machine="x86_64", cpu_model="Z", isa=("avx2",),
        ...     backend="onnxruntime", engine="mlas", threads=1)
        >>> Comparability(narrow=("threads",), widen=("isa",)).class_of(here)
        'linux-x86_64-any_isa+threads=1'
        """
        kept = [
            f"any_{name}" if name in self.widen else getattr(environment, name)
            for name in ("system", "machine")
        ]
        isa = ("any_isa",) if "isa" in self.widen else environment.isa or ("generic",)
        added = (f"+{name}={self._narrowed(environment, name)}" for name in self.narrow)
        return "-".join((*kept, *isa)) + "".join(added)

    def differences(self, here: Environment, there: Environment) -> tuple[str, ...]:
        """What keeps two environments apart under this rule, for people; empty for one class."""
        differences = [
            f"{name} {theirs} there, {ours} here"
            for name, theirs, ours in (
                ("system", there.system, here.system),
                ("machine", there.machine, here.machine),
            )
            if theirs != ours and name not in self.widen
        ]
        for text, flags in (
            ("not here", set(there.isa) - set(here.isa)),
            ("only here", set(here.isa) - set(there.isa)),
        ):
            if flags and "isa" not in self.widen:
                differences.append(f"{', '.join(sorted(flags))} {text}")
        for name in self.narrow:
            theirs, ours = self._narrowed(there, name), self._narrowed(here, name)
            if theirs != ours:
                differences.append(f"{_WORDS[name]} {theirs} there, {ours} here")
        return tuple(differences)

    @staticmethod
    def _narrowed(environment: Environment, name: str) -> str:
        match name:
            case "cpu_model":
                return environment.cpu_model
            case "threads":
                return str(environment.threads)
            case "runtime":
                package = _PACKAGES.get(environment.backend, environment.backend)
                version = environment.versions.get(package, "unknown")
                return f"{environment.backend} {version}"
            case _:
                found = sorted(environment.versions.items())
                return ",".join(f"{package} {version}" for package, version in found)


_PACKAGES = {"litert": "ai-edge-litert", "keras": "tensorflow-cpu"}
"""Backend -> the distribution of its runtime, where that has another name."""
_WORDS = {
    "cpu_model": "processor",
    "threads": "threads",
    "runtime": "runtime",
    "versions": "versions",
}
DEFAULT_COMPARABILITY = Comparability()
