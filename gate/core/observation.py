"""Raw facts measured in one run of one case, as mergeable sufficient statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gate.core.choice import Choice
from gate.core.environment import Environment
from gate.core.layer import ErrorSums, LayersObserved, TensorInfo
from gate.core.probes import ProbeObserved
from gate.core.task import CustomScores, TaskScores

OBSERVATION_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputObserved:
    """One model output, candidate against reference, over all evaluation samples."""

    reference: TensorInfo
    """Of one sample: the batch axis is left out."""
    candidate: TensorInfo
    errors: ErrorSums
    samples: int
    kl_sum_nats: float | None = None
    """Sum over samples of KL(softmax(reference) || softmax(candidate)); None where the output has no class axis."""
    agreement: str | None = None
    """One character a sample: ``1`` where the arg-max agrees, else ``0``; None as above."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskObserved:
    """Per-sample correctness on the labelled evaluation set, in the order of the samples.

    One character a sample, ``1`` right and ``0`` wrong, so that paired statistics can be taken later.
    """

    reference_top1: str
    candidate_top1: str
    reference_top5: str | None = None
    """None where there are fewer than six classes."""
    candidate_top5: str | None = None
    labels: tuple[int, ...] = ()
    """Class of each sample; empty in older results."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingObserved:
    """Latency samples of interleaved rounds, one entry a run, in order, batch as declared."""

    batch: int
    warmup_rounds: int
    reference_wall_ns: tuple[int, ...]
    candidate_wall_ns: tuple[int, ...]
    reference_cpu_ns: tuple[int, ...]
    candidate_cpu_ns: tuple[int, ...]
    launch: tuple[int, ...] = ()
    """Index of the fresh process that each run was taken in; empty for a single process."""
    runs_per_round: int = 1
    """Entries that belong to one round: 2 where a round runs every model forwards and backwards."""
    base_wall_ns: tuple[int, ...] = ()
    """Of the baseline's own artifact, in the same rounds; empty where it was not run."""
    base_cpu_ns: tuple[int, ...] = ()
    base_sha256: str = ""
    """The artifact that ran as the base."""
    base_note: str = ""
    """Why there was no base to run, where the spec asks for a comparison with one."""
    confirming_from: int | None = None
    """Index of the first launch of a second, fresh set, taken because the first set failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourcesObserved:
    """Bytes and seconds that a model costs."""

    reference_size_bytes: int
    candidate_size_bytes: int
    reference_packed_bytes: int | None
    """Bytes of the weights as the runtime holds them; None where it does not tell."""
    candidate_packed_bytes: int | None
    peak_memory_bytes: int
    """Largest resident set of a process that opened only the candidate and ran it."""
    load_seconds: float
    """From the file to a session that has run once, candidate."""
    reference_load_seconds: float
    reference_peak_memory_bytes: int | None = None
    """As ``peak_memory_bytes``, of the reference; None where nobody asked, since it takes a process more."""
    reference_activation_bytes: int | None = None
    """Most bytes of activations alive at one layer, for one sample; None where the backend does not
    tell."""
    candidate_activation_bytes: int | None = None
    load_cpu_seconds: float | None = None
    """CPU time of the process for what ``load_seconds`` is the wall time of; None in older files."""
    reference_load_cpu_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferencePin:
    """Absolute identity of the reference, so that a broken reference cannot hide a broken candidate."""

    output_sha256: str
    """Over the reference outputs' bytes, in order of samples and of output names."""
    output_rms: Mapping[str, float]
    """Output name -> root mean square over all elements."""
    samples: int
    top1_correct: int | None
    """None where the data has no labels."""
    sketch: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Output name -> ``gate.metrics.sketch`` of all its values; empty in older baselines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """All facts of one run of one case. Judging needs nothing else but the case and its baseline."""

    schema: int = OBSERVATION_SCHEMA
    case_id: str
    spec_digest: str
    data_digest: str
    """Over the evaluation samples as the model gets them, their labels, and the preprocessing."""
    calibration_digest: str | None
    environment: Environment
    artifacts: Mapping[str, str]
    """``reference`` and ``candidate`` -> SHA-256."""
    samples_planned: int
    samples_evaluated: int
    conversion_relative_mse_percent: float | None = None
    """Native reference against the form the backend runs (torch -> ONNX); None where they are one."""
    pin: ReferencePin | None = None
    outputs: Mapping[str, OutputObserved] = field(default_factory=dict)
    missing_outputs: tuple[str, ...] = ()
    """Reference outputs that the candidate does not have."""
    task: TaskObserved | None = None
    layers: LayersObserved | None = None
    timing: TimingObserved | None = None
    resources: ResourcesObserved | None = None
    notes: tuple[str, ...] = ()
    """Things worth saying that are no measurement (a fall-back, an unread option)."""
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall seconds of each stage of the run, for people; never judged."""
    probes: tuple[ProbeObserved, ...] = ()
    """In the order in which they ran."""
    scores: TaskScores | None = None
    """Of tasks that are no classification; None for those, and without labels."""
    custom: tuple[CustomScores, ...] = ()
    """Of the metrics that the spec declares itself."""
    choice: Choice | None = None
    """How the recipe was found, for methods that choose among others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFailure:
    """A worker that ended without an observation."""

    kind: str
    """``crash``, ``timeout``, ``memory``, ``no-result``, ``forged``, ``refused``, ``interrupted``."""
    stage: str
    """The stage it was in: ``start``, ``model``, ``data``, ``quantize``, ``open``, ``numerical``, ``layers``, ``device``."""
    message: str
    last_output: str = ""
    """The last lines that the worker printed."""
