"""Cases, observations and baselines of a small classifier, summed over real arrays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from gate.baseline.make import make_baseline
from gate.core.baseline import Baseline, Provenance
from gate.core.case import Case
from gate.core.environment import Environment
from gate.core.layer import (
    ErrorSums,
    LayerMatch,
    LayerRow,
    LayersObserved,
    QParams,
    TensorInfo,
)
from gate.core.observation import (
    Observation,
    OutputObserved,
    ReferencePin,
    ResourcesObserved,
    TaskObserved,
    TimingObserved,
)
from gate.core.spec import (
    DataSpec,
    ModelSpec,
    QuantizationSpec,
    Requirements,
    RunSpec,
    SampleSpec,
    TargetSpec,
)
from gate.core.status import Tier
from gate.core.tolerance import Anchor, Op, Tolerance
from gate.metrics.accumulate import ErrorAccumulator
from gate.metrics.classification import argmax_agreement, bits, kl_divergence_nats

N, CLASSES = 40, 10
MS = 1_000_000

ENVIRONMENT = Environment(
    system="linux",
    machine="x86_64",
    cpu_model="Test CPU",
    isa=("avx2", "avx512_vnni"),
    backend="torch",
    engine="x86",
    threads=1,
    versions={"torch": "2.13.0"},
)


def tolerance(tier: Tier, metric: str, op: Op, value: float, **changes: Any) -> Tolerance:
    fields = {"anchor": Anchor.ABSOLUTE, "text": f"{op.value} {value}", **changes}
    return Tolerance(tier=tier, metric=metric, op=op, value=value, **fields)


FINITE = tolerance(Tier.NUMERICAL, "finite", Op.EQ, 1.0)
SQNR = tolerance(Tier.NUMERICAL, "sqnr", Op.GE, 20.0)
SHAPES = tolerance(Tier.LAYERS, "shapes", Op.EQ, 1.0)
LAYER_SQNR = tolerance(Tier.LAYERS, "sqnr", Op.GE, 20.0)
QUANTIZED = tolerance(Tier.LAYERS, "quantized_ops", Op.GE, 95.0)
TOP1_DROP = tolerance(Tier.DEVICE, "top1_drop", Op.LE, 5.0)
SPEEDUP = tolerance(Tier.DEVICE, "speedup", Op.GE, 1.5)
DEFAULT = (FINITE, SQNR, SHAPES, LAYER_SQNR, QUANTIZED, TOP1_DROP, SPEEDUP)


def baseline_tolerance(tier: Tier, metric: str, op: Op, offset: float, **changes: Any) -> Tolerance:
    return tolerance(tier, metric, op, offset, anchor=Anchor.BASELINE, **changes)


def case(*tolerances: Tolerance, method: str = "torch-fx-static", **changes: Any) -> Case:
    samples = SampleSpec(source="sklearn-digits", options={}, samples=None, skip=0, seed=None)
    built = Case(
        id="digits/static@torch-x86",
        spec_id="digits",
        spec_path="specs/digits.yaml",
        spec_digest="5" * 64,
        model=ModelSpec(
            id="digits", task="image-classification", source="python", options={}, inputs={}
        ),
        data=DataSpec(evaluation=samples, calibration=None, preprocess={}, overlap=False),
        quantization=QuantizationSpec(name="static", method=method, options={}),
        target=TargetSpec(
            name="torch-x86", backend="torch", threads=1, dedicated=False, options={}
        ),
        tolerances=tolerances or DEFAULT,
        run=RunSpec(layer_samples=4, timing_rounds=6),
        requires=Requirements(),
        baseline_policy="ignore",
    )
    return replace(built, **changes)


def logits() -> tuple[np.ndarray, np.ndarray]:
    """Reference and candidate logits, (N, CLASSES) float32, about 40 dB apart."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, CLASSES)).astype(np.float32)
    return x, (x + 0.01 * rng.normal(size=x.shape)).astype(np.float32)


def sums(x: np.ndarray, y: np.ndarray) -> ErrorSums:
    accumulator = ErrorAccumulator(channel_axis=1)
    accumulator.update(x, y)
    return accumulator.sums()


def output(x: np.ndarray, y: np.ndarray) -> OutputObserved:
    finite = bool(np.isfinite(x).all() and np.isfinite(y).all())
    return OutputObserved(
        reference=TensorInfo(shape=x.shape[1:], dtype="float32"),
        candidate=TensorInfo(shape=y.shape[1:], dtype="float32"),
        errors=sums(x, y),
        samples=len(x),
        kl_sum_nats=float(kl_divergence_nats(x, y).sum()) if finite else None,
        agreement=bits(argmax_agreement(x, y)),
    )


def row(name: str, *, quantized: bool = True, shape: tuple[int, ...] = (4, 8)) -> LayerRow:
    weight = QParams(
        dtype="int8",
        scheme="per-channel-symmetric",
        axis=0,
        scales=(0.1,) * 8,
        zero_points=(0,) * 8,
        channels=8,
    )
    kind = "uint8" if quantized else "float32"
    return LayerRow(
        name=name,
        op="QuantizedLinear" if quantized else "Linear",
        computes=True,
        quantized=quantized,
        inputs=(TensorInfo(shape=(4, 8), dtype=kind),),
        outputs=(TensorInfo(shape=shape, dtype=kind),),
        weight=weight if quantized else None,
        params=64,
        params_quantized=64 if quantized else 0,
        macs=64,
        groups_of_four=16,
        groups_sparse=4,
        capture=name,
    )


LAYER_NAMES = ("conv1", "conv2", "fc")


def layers(**noise: float) -> LayersObserved:
    """Three layers; ``noise`` gives a layer's relative error (default 0.01, 40 dB)."""
    rng = np.random.default_rng(1)
    matches = []
    for name in LAYER_NAMES:
        x = rng.normal(size=(4, 8)).astype(np.float32)
        y = x + noise.get(name, 0.01) * rng.normal(size=x.shape).astype(np.float32)
        matches.append(
            LayerMatch(candidate=name, reference=(name,), rule="name", errors=sums(x, y))
        )
    return LayersObserved(
        reference=tuple(row(name, quantized=False) for name in LAYER_NAMES),
        candidate=tuple(row(name) for name in LAYER_NAMES),
        matches=tuple(matches),
        unmatched_reference=(),
        unmatched_candidate=(),
        samples=4,
    )


def timing(reference_ms: float = 4.0, candidate_ms: float = 2.0) -> TimingObserved:
    reference, candidate = (int(ms * MS) for ms in (reference_ms, candidate_ms))
    return TimingObserved(
        batch=1,
        warmup_rounds=2,
        reference_wall_ns=(reference,) * 6,
        candidate_wall_ns=(candidate,) * 6,
        reference_cpu_ns=(reference,) * 6,
        candidate_cpu_ns=(candidate,) * 6,
    )


def observation(**changes: Any) -> Observation:
    x, y = logits()
    built = Observation(
        case_id="digits/static@torch-x86",
        spec_digest="5" * 64,
        data_digest="d" * 64,
        calibration_digest=None,
        environment=ENVIRONMENT,
        artifacts={"reference": "a" * 64, "candidate": "b" * 64},
        samples_planned=N,
        samples_evaluated=N,
        pin=ReferencePin(
            output_sha256="e" * 64, output_rms={"output": 1.25}, samples=N, top1_correct=39
        ),
        outputs={"output": output(x, y)},
        task=TaskObserved(reference_top1="1" * 39 + "0", candidate_top1="1" * 38 + "00"),
        layers=layers(),
        timing=timing(),
        resources=ResourcesObserved(
            reference_size_bytes=4000,
            candidate_size_bytes=1200,
            reference_packed_bytes=None,
            candidate_packed_bytes=1000,
            peak_memory_bytes=10**8,
            load_seconds=0.02,
            reference_load_seconds=0.03,
            load_cpu_seconds=0.015,
            reference_load_cpu_seconds=0.025,
        ),
    )
    return replace(built, **changes)


PROVENANCE = Provenance(
    reason="first",
    commit="c" * 40,
    author="A. Tester",
    date="2026-01-02T03:04:05+00:00",
    gate_version="0.1.0",
)


def baseline(observed: Observation | None = None, **changes: Any) -> Baseline:
    return replace(make_baseline(case(), observed or observation(), PROVENANCE), **changes)
