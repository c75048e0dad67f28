"""Verdicts and results to render: small, and complete enough for every branch of the reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gate.core.case import Case
from gate.core.environment import Environment
from gate.core.layer import ErrorSums, TensorInfo
from gate.core.observation import (
    Observation,
    OutputObserved,
    ResourcesObserved,
    RunFailure,
    TaskObserved,
    TimingObserved,
)
from gate.core.result import CaseResult
from gate.core.spec import (
    DataSpec,
    InputSpec,
    ModelSpec,
    QuantizationSpec,
    Requirements,
    RunSpec,
    SampleSpec,
    TargetSpec,
)
from gate.core.status import Status, Tier
from gate.core.tolerance import Anchor, Op, SourcePosition, Tolerance
from gate.core.verdict import Check, Measurement, Verdict


def tolerance(tier: Tier, metric: str, text: str, **changes: Any) -> Tolerance:
    made = Tolerance(
        tier=tier,
        metric=metric,
        op=Op.LT,
        anchor=Anchor.ABSOLUTE,
        value=1.0,
        text=text,
        where=SourcePosition(file="specs/digits.yaml", line=14, column=9),
    )
    return replace(made, **changes)


def check(
    rule: str,
    status: Status = Status.PASS,
    *,
    tier: Tier = Tier.DEVICE,
    subject: str = "case",
    value: float | None = 0.25,
    unit: str = "pp",
    bound: float | None = 1.0,
    text: str | None = "< 1 pp",
    **more: Any,
) -> Check:
    return Check(
        tier=tier,
        rule=rule,
        subject=subject,
        status=status,
        measurement=Measurement(
            tier=tier,
            metric=rule,
            subject=subject,
            value=value,
            unit=unit,
            why_none="" if value is not None else "the labels are missing",
        ),
        tolerance=tolerance(tier, rule, text) if text is not None else None,
        bound=bound,
        **more,
    )


def implicit(rule: str, status: Status, tier: Tier, message: str) -> Check:
    return Check(tier=tier, rule=rule, subject="case", status=status, message=message)


def case(case_id: str, tiers: Sequence[Tier] = tuple(Tier)) -> Case:
    spec_id, _, pair = case_id.partition("/")
    quantization, _, target = pair.partition("@")
    return Case(
        id=case_id,
        spec_id=spec_id,
        spec_path=f"specs/{spec_id}.yaml",
        spec_digest="0" * 64,
        model=ModelSpec(
            id=spec_id,
            task="image-classification",
            source="onnx",
            options={},
            inputs={"x": InputSpec(shape=("N", 4), dtype="float32")},
        ),
        data=DataSpec(
            evaluation=SampleSpec(source="npz", options={}, samples=None, skip=0, seed=None),
            calibration=None,
            preprocess={},
            overlap=False,
        ),
        quantization=QuantizationSpec(name=quantization, method="candidate", options={}),
        target=TargetSpec(
            name=target, backend="onnxruntime", threads=1, dedicated=False, options={}
        ),
        tolerances=tuple(tolerance(tier, "sqnr", ">= 20 dB") for tier in tiers),
        run=RunSpec(),
        requires=Requirements(),
        baseline_policy="require",
    )


def observation(case_id: str) -> Observation:
    info = TensorInfo(shape=(10,), dtype="float32")
    return Observation(
        case_id=case_id,
        spec_digest="0" * 64,
        data_digest="1" * 64,
        calibration_digest=None,
        environment=Environment(
            system="linux",
            machine="x86_64",
            cpu_model="some processor",
            isa=("avx2",),
            backend="onnxruntime",
            engine="mlas",
            threads=1,
            versions={"onnxruntime": "1.31.1"},
        ),
        artifacts={"reference": "a" * 64, "candidate": "b" * 64},
        samples_planned=4,
        samples_evaluated=4,
        outputs={
            "output": OutputObserved(
                reference=info,
                candidate=info,
                # 20 log10(||x|| / ||e||) = 20 dB: the squares' sums differ by a factor of 100.
                errors=ErrorSums(elements=40, sum_x=0.0, sum_x2=400.0, sum_y2=400.0, sum_err2=4.0),
                samples=4,
            )
        },
        task=TaskObserved(reference_top1="1111", candidate_top1="1110"),
        timing=TimingObserved(
            batch=1,
            warmup_rounds=1,
            reference_wall_ns=(4_000_000, 4_000_000),
            candidate_wall_ns=(2_000_000, 2_000_000),
            reference_cpu_ns=(4_000_000, 4_000_000),
            candidate_cpu_ns=(2_000_000, 2_000_000),
        ),
        resources=ResourcesObserved(
            reference_size_bytes=4000,
            candidate_size_bytes=1000,
            reference_packed_bytes=None,
            candidate_packed_bytes=None,
            peak_memory_bytes=10**8,
            load_seconds=0.1,
            reference_load_seconds=0.1,
        ),
        stage_seconds={"numerical": 1.5, "device": 0.5},
    )


PASSED = Verdict(
    case_id="digits/ptq-int8@ort-cpu",
    checks=(
        check(
            "sqnr",
            tier=Tier.NUMERICAL,
            subject="output",
            value=31.2,
            unit="dB",
            bound=20.0,
            text=">= 20 dB",
        ),
        check("quantized_ops", tier=Tier.LAYERS, value=100.0, unit="%", bound=95.0, text=">= 95 %"),
        check("top1_drop"),
    ),
    baseline_note="compared",
)
FAILED = Verdict(
    case_id="digits/ptq-per-tensor@ort-cpu",
    checks=(
        check("finite", tier=Tier.NUMERICAL, subject="output", value=1.0, unit="bool", text="true"),
        check(
            "sqnr",
            Status.FAIL,
            tier=Tier.LAYERS,
            subject="features.3.conv",
            value=9.87,
            unit="dB",
            bound=15.0,
            text=">= 15 dB",
        ),
        check(
            "top1_drop",
            Status.FAIL,
            value=1.0004,
            baseline=0.25,
            message="1.0004 pp, demanded < 1 pp (baseline 0.25 pp): in float: conv1",
        ),
    ),
    first_bad_layer="features.3.conv",
    baseline_note="not comparable: recorded on linux-aarch64",
)
CRASHED = Verdict(
    case_id="digits/dynamic@torch-x86",
    checks=(),
    failure=RunFailure(
        kind="crash",
        stage="open",
        message="ended by signal 11 (SIGSEGV)",
        last_output="loading\n\x1b[31mbad | kernel\x1b[0m\x00 <&> ```\n",
    ),
)
SKIPPED = Verdict(
    case_id="lite0/ptq@ort-cpu", checks=(), skipped="GATE_DATA is not set; see README"
)
XFAILED = Verdict(
    case_id="lite0/ptq-per-tensor@ort-cpu",
    checks=(
        check(
            "sqnr",
            tier=Tier.NUMERICAL,
            subject="output",
            value=12.0,
            unit="dB",
            bound=10.0,
            text=">= 10 dB",
        ),
        check("shapes", tier=Tier.LAYERS, value=1.0, unit="bool", bound=1.0, text="equal"),
        check("top1_drop", Status.FAIL, value=7.5),
    ),
    expected_failure="per-channel ranges differ 100x",
    expected_metrics=("top1_drop",),
    baseline_note="compared",
)
XPASSED = replace(
    PASSED,
    case_id="lite0/other@ort-cpu",
    expected_failure="it used to fail",
    expected_metrics=("top1_drop",),
)
INCONCLUSIVE = Verdict(
    case_id="lite0/noisy@ort-cpu",
    checks=(
        check(
            "sqnr",
            tier=Tier.NUMERICAL,
            subject="output",
            value=31.2,
            unit="dB",
            bound=20.0,
            text=">= 20 dB",
        ),
        check("shapes", tier=Tier.LAYERS, value=1.0, unit="bool", bound=1.0, text="equal"),
        check(
            "speedup",
            Status.INCONCLUSIVE,
            unit="x",
            value=1.49,
            bound=1.5,
            text=">= 1.5 x",
            message="40 more rounds are needed",
        ),
    ),
)
ALL = (PASSED, FAILED, CRASHED, SKIPPED, XFAILED, XPASSED, INCONCLUSIVE)


def result_of(verdict: Verdict) -> CaseResult:
    observed = verdict.failure is None and verdict.skipped is None
    return CaseResult(
        case=case(verdict.case_id),
        observation=observation(verdict.case_id) if observed else None,
        failure=verdict.failure,
        skipped=verdict.skipped,
    )


RESULTS = tuple(result_of(verdict) for verdict in ALL)
