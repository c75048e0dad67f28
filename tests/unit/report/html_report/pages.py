"""Cases for the page: with layers, timing, flips and a baseline, and as many as wanted."""

from __future__ import annotations

import base64
from dataclasses import replace
from io import BytesIO

import numpy as np

from gate.baseline.make import make_baseline
from gate.core.baseline import Baseline, Provenance
from gate.core.choice import Choice, Tried
from gate.core.flipped import Flipped, FlipsCompared
from gate.core.flips import Flip, Flips
from gate.core.layer import ErrorSums, LayerMatch, LayerRow, LayersObserved, QParams, TensorInfo
from gate.core.observation import Observation, TaskObserved, TimingObserved
from gate.core.result import CaseResult
from gate.core.status import Status, Tier
from gate.core.tolerance import Anchor, Op
from gate.core.verdict import Check, Verdict
from tests.unit.report.records import (
    ALL,
    FAILED,
    RESULTS,
    check,
    implicit,
    observation,
    result_of,
)

PROVENANCE = Provenance(
    reason="first baseline",
    commit="c" * 40 + "+dirty",
    author="somebody",
    date="2024-01-01T00:00:00+00:00",
    gate_version="0",
)
HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>\"'&"
LAYERS = 12
BAD = 5


def layer_name(index: int) -> str:
    return f"features.{index}.conv"


def layers(count: int = LAYERS, names: str = "") -> LayersObserved:
    """A chain; layer ``BAD`` loses 20 dB by itself."""
    rows, matches = [], []
    for index in range(count):
        name = names + layer_name(index)
        info = TensorInfo(shape=(2, 8, 16 - index % 8, 16), dtype="uint8")
        qparams = QParams(
            dtype="int8",
            scheme="per-channel-symmetric",
            axis=0,
            scales=(0.01, 0.02),
            zero_points=(0, 0),
        )
        rows.append(
            LayerRow(
                name=name,
                op="QLinearConv",
                computes=True,
                quantized=index != 3,
                inputs=(info,),
                outputs=(info,),
                weight=qparams,
                params=72,
                params_quantized=72,
                macs=10_000,
            )
        )
        error = 0.01 if index < BAD else 1.0
        sums = ErrorSums(elements=100, sum_x2=100.0 + index, sum_y2=100.0, sum_err2=error)
        alone = ErrorSums(
            elements=100, sum_x2=100.0, sum_y2=100.0, sum_err2=1.0 if index == BAD else 0.01
        )
        matches.append(
            LayerMatch(candidate=name, reference=(name,), rule="name", errors=sums, isolated=alone)
        )
    return LayersObserved(
        reference=tuple(rows),
        candidate=tuple(rows),
        matches=tuple(matches),
        unmatched_reference=(),
        unmatched_candidate=(),
        samples=16,
    )


def layer_checks(count: int = LAYERS) -> tuple[Check, ...]:
    return tuple(
        check(
            "sqnr",
            Status.PASS if index < BAD else Status.FAIL,
            tier=Tier.LAYERS,
            subject=layer_name(index),
            value=40.0 if index < BAD else 20.0 + index / 100,
            unit="dB",
            bound=25.0,
            text=">= 25 dB",
        )
        for index in range(count)
    )


def choice(names: str = "") -> Choice:
    """A search: every layer quantized, two on the way to the one that was taken, one off the front."""
    tried = [
        Tried(
            name=f"{names}{len(kept)} in float",
            holds=sqnr > 20.0,
            why="" if sqnr > 20.0 else f"{names}sqnr {sqnr:g} dB >= 20 dB",
            size_bytes=size,
            figures={"sqnr": sqnr, "top1_drop": 0.5},
            kept=kept,
            seconds=1.5,
        )
        for kept, size, sqnr in (
            ((), 1000, 10.0),
            ((f"{names}stem",), 1050, 9.0),
            ((f"{names}stem", f"{names}head"), 1080, 22.0),
            ((f"{names}stem", f"{names}head", f"{names}mid"), 2000, 30.0),
        )
    ]
    return Choice(
        how="search",
        method="onnxruntime-static",
        options={"keep_float": [f"{names}stem", f"{names}head"]},
        chosen=2,
        tried=tuple(tried),
        on="calibration",
        samples=64,
        met=True,
        remark=f"{names}2 of 12 layers in float",
        limit_bytes=1100,
        seconds=6.0,
    )


def rich_observation(case_id: str) -> Observation:
    rng = np.random.default_rng(0)
    rounds = 60

    def times(mean: float) -> tuple[int, ...]:
        return tuple(int(t) for t in rng.normal(mean, mean / 20, rounds))

    return replace(
        observation(case_id),
        samples_planned=200,
        samples_evaluated=200,
        task=TaskObserved(
            reference_top1="1" * 180 + "0" * 20, candidate_top1="1" * 170 + "0" * 28 + "11"
        ),
        layers=layers(),
        choice=choice(),
        timing=TimingObserved(
            batch=1,
            warmup_rounds=5,
            reference_wall_ns=times(4e6),
            candidate_wall_ns=times(2e6),
            reference_cpu_ns=times(4e6),
            candidate_cpu_ns=times(2e6),
            launch=tuple(i // 20 for i in range(rounds)),
        ),
    )


def rich(case_id: str = "digits/ptq-per-tensor@ort-cpu") -> tuple[Verdict, CaseResult]:
    """A failing case with everything that a page can show."""
    lower = replace(check("x").tolerance, op=Op.GE)
    checks = [
        *FAILED.checks,
        *(replace(c, tolerance=replace(c.tolerance, op=Op.GE)) for c in layer_checks()),
        check(
            "speedup",
            Status.INCONCLUSIVE,
            unit="x",
            value=1.95,
            bound=1.9,
            text=">= 1.9 x",
            baseline=2.0,
        ),
        implicit("coverage", Status.PASS, Tier.NUMERICAL, "all 200 samples evaluated"),
    ]
    speed = next(c for c in checks if c.rule == "speedup")
    checks[checks.index(speed)] = replace(
        speed,
        measurement=replace(speed.measurement, low=1.85, high=2.05),
        tolerance=replace(lower, metric="speedup", text=">= 1.9 x"),
    )
    verdict = replace(
        FAILED,
        case_id=case_id,
        checks=tuple(checks),
        first_bad_layer=layer_name(BAD),
        flips=(
            FlipsCompared(
                metric="top1",
                now=Flipped(lost=(171, 172), gained=(198,)),
                accepted=Flipped(lost=(5, 172), gained=()),
            ),
        ),
        baseline_note="compared",
        notes=("the spec was edited since the baseline was accepted",),
    )
    result = replace(result_of(verdict), observation=rich_observation(case_id))
    return verdict, result


def baseline_of(result: CaseResult) -> Baseline:
    """As accepted earlier: every value 2 % smaller, an older runtime, one layer in float."""
    made = make_baseline(result.case, result.observation, PROVENANCE)
    return replace(
        made,
        values=tuple(replace(v, value=v.value * 0.98) for v in made.values),
        layers=tuple(
            replace(x, quantized=False) if i == 1 else x for i, x in enumerate(made.layers)
        ),
        environment=replace(made.environment, versions={"onnxruntime": "1.20.0"}),
    )


def png(side: int = 8) -> str:
    from PIL import Image

    buffer = BytesIO()
    pixels = np.arange(side * side, dtype=np.uint8).reshape(side, side)
    Image.fromarray(pixels).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def flips_of(case_id: str) -> Flips:
    return Flips(
        case_id=case_id,
        lost=10,
        gained=2,
        kept=(
            Flip(sample=171, index=7, label=3, reference=3, candidate=5, png=png()),
            Flip(sample=198, index=9, label=1, reference=4, candidate=1),
        ),
    )


def everything() -> dict[str, object]:
    """Arguments of ``render``: every outcome, one case of them in full."""
    verdict, result = rich()
    verdicts = [verdict if v is FAILED else v for v in ALL]
    results = [result if r.case.id == verdict.case_id else r for r in RESULTS]
    return {
        "verdicts": verdicts,
        "results": results,
        "baselines": {verdict.case_id: baseline_of(result)},
        "flips": {verdict.case_id: flips_of(verdict.case_id)},
    }


def hostile() -> dict[str, object]:
    """Markup in every name and sentence that comes from specs, models and workers."""
    verdict, result = rich(f"spec/{HOSTILE}@cpu")
    seen = replace(
        result.observation,
        layers=layers(names=HOSTILE),
        choice=choice(names=HOSTILE),
        notes=(HOSTILE,),
        environment=replace(
            result.observation.environment, cpu_model=HOSTILE, versions={HOSTILE: HOSTILE}
        ),
    )
    case = replace(
        result.case,
        id=verdict.case_id,
        spec_path=f"{HOSTILE}.yaml",
        model=replace(result.case.model, id=HOSTILE),
    )
    checks = tuple(
        replace(
            c,
            subject=HOSTILE,
            message=HOSTILE,
            tolerance=c.tolerance and replace(c.tolerance, text=HOSTILE, anchor=Anchor.BASELINE),
        )
        for c in verdict.checks
    )
    verdict = replace(
        verdict,
        checks=checks,
        notes=(HOSTILE,),
        baseline_note=f"compared {HOSTILE}",
        first_bad_layer=HOSTILE,
        expected_failure=HOSTILE,
    )
    crashed = next(v for v in ALL if v.failure is not None)
    crashed = replace(
        crashed, failure=replace(crashed.failure, message=HOSTILE, last_output=HOSTILE)
    )
    skipped = replace(next(v for v in ALL if v.skipped), skipped=HOSTILE)
    accepted = baseline_of(replace(result, observation=seen))
    accepted = replace(accepted, provenance=replace(PROVENANCE, reason=HOSTILE, author=HOSTILE))
    return {
        "verdicts": [verdict, crashed, skipped],
        "results": [
            replace(result, case=case, observation=seen),
            result_of(crashed),
            result_of(skipped),
        ],
        "baselines": {verdict.case_id: accepted},
        "flips": {verdict.case_id: replace(flips_of(verdict.case_id), why_no_pictures=HOSTILE)},
    }


def many(count: int) -> dict[str, object]:
    """``count`` passing cases and three that fail."""
    failing, result = rich()
    passed = replace(
        failing,
        checks=tuple(c for c in failing.checks if c.status is Status.PASS),
        first_bad_layer=None,
        notes=(),
    )
    verdicts, results = [], []
    for index in range(count + 3):
        name = f"model_{index // 8}/quantization-{index % 8}@target"
        verdicts.append(replace(failing if index % 400 == 7 else passed, case_id=name))
        results.append(replace(result, case=replace(result.case, id=name)))
    return {"verdicts": verdicts, "results": results}
