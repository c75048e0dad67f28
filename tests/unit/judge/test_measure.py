from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from gate.core.layer import LayerMatch, QParams
from gate.core.status import Tier
from gate.core.task import CLASSIFICATION
from gate.judge.layers import qparams_fault
from gate.judge.measure import Measured, measure
from gate.metrics.catalogue import CATALOGUE
from tests.unit.judge import builders as build


def one(measured: Measured, tier: Tier, metric: str, subject: str | None = None) -> float | None:
    found = [m for m in measured.of(tier, metric) if subject in (None, m.subject)]
    assert len(found) == 1
    return found[0].value


def why(measured: Measured, tier: Tier, metric: str) -> str:
    (found,) = measured.of(tier, metric)
    assert found.value is None
    return found.why_none


def test_every_metric_of_the_catalogue_is_measured_in_its_unit() -> None:
    measured = measure(build.observation())
    for info in CATALOGUE:
        found = measured.of(info.tier, info.name)
        assert found, f"{info.tier}.{info.name} is not measured"
        assert {m.unit for m in found} == {info.unit}
        subjects = {m.subject for m in found}
        wanted = {
            "output": {"output"},
            "case": {"case"},
            "layer": set(build.LAYER_NAMES),
            "class": {"case"},  # without a value: this observation has no labels
        }
        assert subjects == wanted[info.subject]


def test_every_metric_that_has_a_reference_value_gives_one() -> None:
    observed = build.observation()
    resources = replace(
        observed.resources,
        reference_packed_bytes=3000,
        reference_activation_bytes=4096,
        candidate_activation_bytes=1024,
    )
    task = replace(observed.task, reference_top5="1" * 40, candidate_top5="1" * 40)
    measured = measure(replace(observed, resources=resources, task=task))
    other_tasks = {i for i in CATALOGUE if i.tasks - CLASSIFICATION}
    with_reference = {
        (i.tier, i.name) for i in CATALOGUE if i.has_reference and i not in other_tasks
    }
    assert set(measured.reference) == with_reference
    assert measured.reference[Tier.DEVICE, "latency_p50"] == 4.0
    assert measured.reference[Tier.DEVICE, "size"] == 4000.0


def test_values_agree_with_their_formulas_on_the_arrays() -> None:
    x, y = (a.astype(np.float64) for a in build.logits())
    measured = measure(build.observation())
    n = Tier.NUMERICAL
    sqnr = 20 * math.log10(np.linalg.norm(x) / np.linalg.norm(x - y))
    assert one(measured, n, "sqnr") == pytest.approx(sqnr, rel=1e-9)
    assert one(measured, n, "relative_mse") == pytest.approx(
        100 * ((x - y) ** 2).mean() / x.var(), rel=1e-9
    )
    agree = 100 * (x.argmax(1) == y.argmax(1)).mean()
    assert one(measured, n, "top1_agreement") == pytest.approx(agree)
    assert one(measured, Tier.DEVICE, "top1") == 95.0
    assert one(measured, Tier.DEVICE, "top1_drop") == 2.5
    assert one(measured, Tier.DEVICE, "speedup") == 2.0
    assert one(measured, Tier.DEVICE, "throughput") == 500.0
    assert one(measured, Tier.DEVICE, "load_time") == 20.0
    assert one(measured, Tier.DEVICE, "load_cpu") == 15.0
    assert one(measured, Tier.DEVICE, "size_ratio") == pytest.approx(4000 / 1200)


def test_a_drop_is_exact_where_the_shares_round() -> None:
    observed = build.observation(samples_planned=500, samples_evaluated=500)
    task = replace(
        observed.task, reference_top1="1" * 487 + "0" * 13, candidate_top1="1" * 482 + "0" * 18
    )
    assert one(measure(replace(observed, task=task)), Tier.DEVICE, "top1_drop") == 1.0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_leave_nothing_but_finite_measured(bad: float) -> None:
    x, y = build.logits()
    y[3, 2] = bad
    measured = measure(build.observation(outputs={"output": build.output(x, y)}))
    for info in CATALOGUE:
        if info.tier is Tier.NUMERICAL:
            (found,) = measured.of(info.tier, info.name)
            if info.name == "finite":
                assert found.value == 0.0
            else:
                assert found.value is None
                assert "1 element of the candidate is not finite" in found.why_none


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"samples_evaluated": 39}, "39 of 40 planned samples"),
        ({"samples_evaluated": 41}, "41 of 40 planned samples"),
        ({"samples_planned": 0, "samples_evaluated": 0}, "no sample was planned"),
    ],
)
def test_a_missing_sample_takes_every_output_and_accuracy_value(change, reason) -> None:
    measured = measure(build.observation(**change))
    assert reason in why(measured, Tier.NUMERICAL, "sqnr")
    assert reason in why(measured, Tier.NUMERICAL, "finite")
    assert reason in why(measured, Tier.DEVICE, "top1")
    assert one(measured, Tier.DEVICE, "speedup") == 2.0


def test_wrong_shape_missing_output_and_too_few_elements_have_no_value() -> None:
    x, y = build.logits()
    wrong = replace(build.output(x, y), candidate=replace(build.output(x, y).candidate, shape=(9,)))
    assert "shape" in why(
        measure(build.observation(outputs={"output": wrong})), Tier.NUMERICAL, "finite"
    )
    short = replace(build.output(x, y), errors=build.sums(x[:-1], y[:-1]))
    assert "390 of 400 elements" in why(
        measure(build.observation(outputs={"output": short})), Tier.NUMERICAL, "sqnr"
    )
    gone = measure(build.observation(outputs={}, missing_outputs=("output",)))
    assert "no such output" in why(gone, Tier.NUMERICAL, "finite")


def test_task_timing_and_resources_that_cannot_be_have_no_value() -> None:
    observed = build.observation()
    d = Tier.DEVICE
    short = replace(observed.task, candidate_top1="1" * 39)
    assert "39 of 40" in why(measure(replace(observed, task=short)), d, "top1_drop")
    odd = replace(observed.task, candidate_top1="x" * 40)
    assert "40 of 40" in why(measure(replace(observed, task=odd)), d, "top1")
    assert "labels" in why(measure(replace(observed, task=None)), d, "top1")
    assert "six classes" in why(measure(observed), d, "top5_drop")
    for times in ((), (0,) * 6, (-1,) * 6, (5,) * 5):
        timing = replace(observed.timing, candidate_wall_ns=times)
        assert why(measure(replace(observed, timing=timing)), d, "latency_p99")
    assert why(measure(replace(observed, timing=None)), d, "speedup")
    empty = replace(observed.resources, candidate_size_bytes=0, load_seconds=math.nan)
    measured = measure(replace(observed, resources=empty))
    for metric in ("size", "size_ratio", "load_time"):
        assert "not positive" in why(measured, d, metric)


def test_layer_shares_count_computing_layers_and_name_those_in_float() -> None:
    observed = build.layers()
    rows = (build.row("conv1"), build.row("conv2", quantized=False), build.row("fc"))
    relu = replace(build.row("relu", quantized=False), computes=False, params=0, macs=0)
    measured = measure(build.observation(layers=replace(observed, candidate=(*rows, relu))))
    assert one(measured, Tier.LAYERS, "quantized_ops") == pytest.approx(200 / 3)
    assert one(measured, Tier.LAYERS, "int8_macs") == pytest.approx(200 / 3)
    assert one(measured, Tier.LAYERS, "float_layers") == 1.0
    assert "conv2" in measured.of(Tier.LAYERS, "float_layers")[0].detail


def test_layers_come_in_order_of_execution_with_unmatched_references_in_their_place() -> None:
    observed = build.layers()
    gone = replace(
        observed,
        candidate=(observed.candidate[0], observed.candidate[2]),
        matches=(observed.matches[0], observed.matches[2]),
        unmatched_reference=("conv2",),
    )
    measured = measure(build.observation(layers=gone))
    assert measured.layer_order == ("conv1", "conv2", "fc")
    shapes = measured.of(Tier.LAYERS, "shapes")
    assert [m.subject for m in shapes] == ["conv1", "conv2", "fc"]
    assert [m.value for m in shapes] == [1.0, None, 1.0]
    assert "no layer of the candidate" in shapes[1].why_none


def test_fused_layers_take_their_input_from_the_first_and_output_from_the_last() -> None:
    observed = build.layers()
    reference = (
        build.row("conv1", quantized=False),
        build.row("add", quantized=False, shape=(4, 9)),
    )
    fused = replace(build.row("conv1", shape=(4, 9)), inputs=build.row("x").inputs * 2)
    match = LayerMatch(candidate="conv1", reference=("conv1", "add"), rule="fused", errors=None)
    seen = replace(observed, reference=reference, candidate=(fused,), matches=(match,))
    measured = measure(build.observation(layers=seen))
    assert one(measured, Tier.LAYERS, "shapes") == 1.0
    assert "not observed" in why(measured, Tier.LAYERS, "sqnr")
    alone = replace(seen, matches=(replace(match, reference=("conv1",)),))
    (found,) = measure(build.observation(layers=alone)).of(Tier.LAYERS, "shapes")
    assert found.value == 0.0
    assert "[4, 9]" in found.detail


def test_a_wrong_layer_shape_and_an_unmatched_computing_layer_are_told() -> None:
    observed = build.layers()
    rows = (observed.candidate[0], build.row("conv2", shape=(4, 7)), observed.candidate[2])
    extra = build.row("extra")
    measured = measure(
        build.observation(
            layers=replace(observed, candidate=(*rows, extra), unmatched_candidate=("extra",))
        )
    )
    by_name = {m.subject: m for m in measured.of(Tier.LAYERS, "shapes")}
    assert by_name["conv2"].value == 0.0
    assert "output [4, 7], the reference's [4, 8]" in by_name["conv2"].detail
    assert by_name["extra"].value is None


GOOD = QParams(
    dtype="int8", scheme="per-channel-symmetric", axis=0, scales=(0.1, 0.2), zero_points=(0, 0),
    channels=2,
)  # fmt: skip


@pytest.mark.parametrize(
    ("params", "fault"),
    [
        (GOOD, ""),
        (replace(GOOD, scales=(0.1, math.nan)), "not finite"),
        (replace(GOOD, scales=(0.1, 0.0)), "not finite and positive"),
        (replace(GOOD, scales=(0.1, -1.0)), "not finite and positive"),
        (replace(GOOD, scheme="per-block-32-symmetric", scales=(-0.1, 0.0)), ""),
        (replace(GOOD, scheme="per-block-32-symmetric", scales=(0.1, math.inf)), "is not finite"),
        (replace(GOOD, channels=3), "2 scales for 3 channels"),
        (replace(GOOD, output_axis=1), "scales along axis 0, the output channels are axis 1"),
        (replace(GOOD, axis=None), "without an axis"),
        (replace(GOOD, zero_points=(0,)), "2 scales beside 1 zero points"),
        (replace(GOOD, zero_points=(0, 128)), "zero point 128 of channel 1 is no int8"),
        (replace(GOOD, dtype="uint8", zero_points=(255, 0)), ""),
        (replace(GOOD, dtype="quint8", zero_points=(-1, 0)), "zero point -1"),
        (replace(GOOD, dtype="int4", zero_points=(0, 8)), "zero point 8"),
        (replace(GOOD, scheme="per-tensor-affine", axis=None), "2 scales for 1 channels"),
    ],
)
def test_quantization_parameters_are_sane_or_the_fault_is_named(params, fault) -> None:
    found = qparams_fault(params)
    assert bool(found) == bool(fault)
    assert fault in found
