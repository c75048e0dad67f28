"""Bits and patterns of weights, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gate.core.baseline import BaselineMissing
from gate.core.layer import LayerRow, QParams
from gate.core.status import Status, Tier
from gate.core.tolerance import Op
from gate.judge.judge import judge
from gate.judge.measure import measure
from tests.unit.judge import builders as build


def weight(dtype: str, scheme: str, scales: int) -> QParams:
    axis = None if scheme.startswith("per-tensor") else 0
    return QParams(
        dtype=dtype,
        scheme=scheme,
        axis=axis,
        scales=(0.1,) * scales,
        zero_points=(0,) * scales,
        channels=scales if axis == 0 else None,
    )


def bits(row: LayerRow) -> float | None:
    seen = build.layers()
    observed = replace(seen, candidate=(row,))
    (found,) = measure(build.observation(layers=observed)).of(Tier.LAYERS, "weight_bits")
    return found.value


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"params": 1024, "params_quantized": 0, "weight": None}, 32),
        ({"params": 1024, "params_quantized": 0, "params_half": 1024, "weight": None}, 16),
        # a scale of 32 bits for 128 weights
        ({"weight": weight("int8", "per-channel-symmetric", 8)}, 8 + 32 / 128),
        ({"weight": weight("int4", "per-block-32-symmetric", 8)}, 4 + 32 / 32),
        # and a zero point of two bits with it
        ({"weight": weight("int2", "per-block-16-affine", 8)}, 2 + (32 + 2) / 16),
        ({"weight": weight("int4", "per-tensor-symmetric", 1)}, 4 + 32 / 1024),
        # half of the layer is still in float
        ({"params_quantized": 512, "weight": weight("int8", "per-tensor-symmetric", 1)}, 20.03125),
        # quantized at run time, or in a way that the runtime does not show
        ({"weight": None}, 8),
    ],
)
def test_bits_of_weights(changes: dict, expected: float) -> None:
    row = replace(build.row("conv1"), **{"params": 1024, "params_quantized": 1024, **changes})
    assert bits(row) == pytest.approx(expected)


def test_a_network_without_weights_has_no_bits() -> None:
    assert bits(replace(build.row("add"), params=0, params_quantized=0, weight=None)) is None


def test_a_broken_pattern_fails_at_its_layer() -> None:
    seen = build.layers()
    rows = tuple(
        replace(row, groups_of_four=100, groups_sparse=99 if row.name == "conv2" else 100)
        for row in seen.candidate
    )
    # A layer that cannot hold the pattern is judged by nothing.
    free = replace(rows[2], groups_of_four=0, groups_sparse=0)
    observed = build.observation(layers=replace(seen, candidate=(*rows[:2], free)))
    wanted = build.tolerance(Tier.LAYERS, "sparsity_2_4", Op.EQ, 100.0)
    verdict = judge(build.case(wanted), observed, BaselineMissing(path="b.json"))
    found = {c.subject: c.status for c in verdict.checks if c.rule == "sparsity_2_4"}
    assert found == {"conv1": Status.PASS, "conv2": Status.FAIL}


def test_a_pattern_that_cannot_be_told_does_not_hold() -> None:
    seen = build.layers()
    rows = (
        replace(seen.candidate[0], groups_of_four=4, groups_sparse=4),
        replace(seen.candidate[1], groups_of_four=0, groups_unknown="packed bytes"),
    )
    observed = build.observation(layers=replace(seen, candidate=rows))
    wanted = build.tolerance(Tier.LAYERS, "sparsity_2_4", Op.EQ, 100.0)
    verdict = judge(build.case(wanted), observed, BaselineMissing(path="b.json"))
    found = {c.subject: c for c in verdict.checks if c.rule == "sparsity_2_4"}
    assert [c.status for c in found.values()] == [Status.PASS, Status.FAIL]
    assert "packed bytes" in found[rows[1].name].message
