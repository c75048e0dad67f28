"""A spec after reading: what to build, feed, quantize, run and demand. Paths are absolute here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gate.core.canonical import JsonValue
from gate.core.environment import Comparability
from gate.core.probes import ProbeSpec
from gate.core.task import CustomMetric
from gate.core.tolerance import SourcePosition, Tolerance

Options = Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """One model input. A string in ``shape`` names a dynamic axis; the first axis is the batch."""

    shape: tuple[int | str, ...]
    dtype: str
    ranges: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Dynamic axis -> its smallest and its largest size, where the spec says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """Where the reference comes from."""

    id: str
    task: str
    source: str
    """Key into the table of model sources: ``torchvision``, ``python``, ``onnx``, ``exported``."""
    options: Options
    """Checked against the source's own schema; its path options are absolute."""
    inputs: Mapping[str, InputSpec]
    decoding: Options = field(default_factory=dict)
    """How outputs become answers, where the task needs to be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSpec:
    """Which samples of which source."""

    source: str
    """Key into the table of data sources: ``image-folder``, ``npz``, ``sklearn-digits``, ``python``."""
    options: Options
    samples: int | None
    """How many to draw; None for all that are left after ``skip``."""
    skip: int
    seed: int | None
    """None keeps the source's order; a number draws with that seed before ``skip`` and ``samples``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSpec:
    """Evaluation and calibration samples, and the way from a sample to a model input."""

    evaluation: SampleSpec
    calibration: SampleSpec | None
    preprocess: Options
    overlap: bool
    """True where calibration samples may also be evaluated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationSpec:
    """One way to make a candidate."""

    name: str
    method: str
    """Key into the table of quantizers; ``none`` for a float candidate, ``candidate`` for a given file."""
    options: Options


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSpec:
    """Where a candidate runs."""

    name: str
    backend: str
    threads: int
    dedicated: bool
    """True on machines that do nothing else: absolute latency ceilings bind there."""
    options: Options
    """``engine`` and whatever else the backend's own schema allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """How a case is run; none of it changes what a correct model answers."""

    batch: int = 32
    """Evaluation samples a forward pass."""
    layer_samples: int = 16
    """Evaluation samples that the layers tier looks at."""
    timing_batch: int = 1
    timing_warmup: int = 20
    timing_rounds: int = 60
    """Rounds a process; each runs every model twice, forwards and backwards."""
    timing_processes: int = 8
    """Fresh processes at most; fewer where fewer decide."""
    timeout_seconds: float = 900.0
    memory_bytes: int = 8 * 1024**3
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """What a spec needs beyond the base installation; where absent its cases are SKIPPED."""

    packages: tuple[str, ...] = ()
    """Importable top-level modules."""
    env: tuple[str, ...] = ()
    """Environment variables that must be set."""
    install_hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIn:
    """Which of the two a spec with a declared stand-in runs: the model it names, or the stand-in."""

    ran: bool
    """True for the stand-in."""
    because: str
    """Why the spec declares one."""
    absent: str = ""
    """What the named model lacks here. Beside ``ran`` False: the stand-in was not wanted, and the case is
    skipped for this."""

    @property
    def note(self) -> str:
        """For people, the same for every case of the spec."""
        if not self.ran:
            return "the one that the spec names, not its stand-in"
        return f"the declared stand-in, since {self.absent} ({self.because})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Changes for the cases that ``when`` selects."""

    quantization: str
    """Glob over quantization names."""
    target: str
    """Glob over target names."""
    because: str
    expect_fail: bool = False
    expect_metrics: tuple[str, ...] = ()
    tolerances: tuple[Tolerance, ...] = ()
    """Replace those of the same tier, metric and subjects."""
    drop: tuple[str, ...] = ()
    """Metrics and findings (``tier.name``) that are not demanded of these cases."""
    probes: tuple[ProbeSpec, ...] = ()
    """Replace those of the same name, or add to them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One spec file, its ``extends`` merged in."""

    id: str
    path: str
    """As given on the command line, with forward slashes."""
    digest: str
    """SHA-256 over the canonical meaning: the merged content, with neither comments nor layout."""
    model: ModelSpec
    data: DataSpec
    quantizations: tuple[QuantizationSpec, ...]
    targets: tuple[TargetSpec, ...]
    tolerances: tuple[Tolerance, ...]
    overrides: tuple[Override, ...]
    include: tuple[tuple[str, str], ...] = ()
    """(quantization glob, target glob): where given, only these pairs are planned."""
    exclude: tuple[tuple[str, str], ...] = ()
    run: RunSpec = field(default_factory=RunSpec)
    requires: Requirements = field(default_factory=Requirements)
    baseline_policy: str = "require"
    """``require``: none is a FAIL; ``record``: none is written and said so; ``ignore``: never looked at."""
    probes: tuple[ProbeSpec, ...] = ()
    comparability: Comparability = field(default_factory=Comparability)
    on_improvement: str = "fail"
    """``fail`` or ``note``: see ``Case.on_improvement``."""
    stand_in: StandIn | None = None
    """None where the spec declares none."""
    where: SourcePosition | None = None
    metrics: tuple[CustomMetric, ...] = ()
    """Metrics of the user's own, which tolerances may name."""
