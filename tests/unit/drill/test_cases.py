"""Which cases are drilled with which faults, and how healthy repeats vary."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from gate.core.case import Plan
from gate.core.status import Tier
from gate.core.task import CustomMetric
from gate.core.tolerance import Op
from gate.drill.cases import (
    FaultSelectError,
    drillable,
    mutated,
    needs_clock,
    select_faults,
    untimed,
)
from gate.drill.catalogue import FAULTS
from gate.drill.mutator import generator, of_fault
from gate.drill.variation import shuffled_rows, variations
from gate.run.mutation import NotApplicableError
from tests.unit.judge import builders as b


def test_faults_are_selected_by_name_or_family_in_the_order_of_the_catalogue() -> None:
    assert select_faults([]) == tuple(FAULTS.values())
    assert [f.name for f in select_faults(["scale_x1_05", "channel_z*"])] == [
        "scale_x1_05",
        "channel_zeroed",
    ]
    assert {f.family for f in select_faults(["runtime", "data"])} == {"runtime", "data"}


def test_a_glob_that_names_nothing_is_told_with_the_families() -> None:
    with pytest.raises(FaultSelectError, match=r"'nope' names no fault.*weights, activations"):
        select_faults(["weights", "nope"])


def test_cases_that_are_expected_to_fail_are_left_out_with_a_reason() -> None:
    found = drillable(
        Plan(cases=(b.case(), b.case(id="x/y@z", expected_failure="known"))), samples=None
    )

    assert [case.id for case in found.cases] == [b.case().id]
    assert [one.id for one in found.not_applicable] == ["x/y@z"]
    assert "expected to fail" in found.not_applicable[0].reason


def test_metrics_of_the_specs_own_are_drilled_and_need_no_clock() -> None:
    metric = CustomMetric(name="f1", entry="m:f", unit="%", direction="higher")
    bound = b.tolerance(Tier.DEVICE, "custom.f1", Op.GE, 90.0)
    case = b.case(bound, b.SPEEDUP, metrics=(metric,))
    (found,) = drillable(Plan(cases=(case,)), samples=None).cases

    assert found == case
    assert mutated(found, FAULTS["scale_x1_05"], seed=0).run_case.metrics == (metric,)
    assert untimed(found).tolerances == (bound,)


@pytest.mark.parametrize(("given", "wanted", "left"), [(None, 10, 10), (5, 10, 5), (50, 10, 10)])
def test_samples_are_reduced_and_never_raised(given: int | None, wanted: int, left: int) -> None:
    from dataclasses import replace

    case = b.case()
    samples = replace(case.data.evaluation, samples=given)
    case = replace(case, data=replace(case.data, evaluation=samples))
    (found,) = drillable(Plan(cases=(case,)), samples=wanted).cases

    assert found.data.evaluation.samples == left


def test_only_faults_of_cost_are_timed() -> None:
    memory = b.tolerance(Tier.DEVICE, "peak_memory", Op.LE, 1e9)
    size = b.tolerance(Tier.DEVICE, "size", Op.LE, 1e9)
    case = b.case(b.SQNR, b.TOP1_DROP, b.SPEEDUP, memory, size)

    assert {t.metric for t in untimed(case).tolerances} == {"sqnr", "top1_drop", "size"}
    scale = mutated(case, FAULTS["scale_x1_05"], seed=0)
    slow = mutated(case, FAULTS["latency_5_percent"], seed=0)
    assert not scale.mutation.timed
    assert slow.mutation.timed
    assert slow.case == case
    assert needs_clock(slow.fault)
    assert scale.run_case.id == f"{case.id}!scale_x1_05"
    assert scale.case.id == scale.mutation.case_id == case.id


def test_draws_depend_on_seed_case_and_fault_alone() -> None:
    def draws(*key: Any) -> list[int]:
        return generator(*key).integers(0, 2**31, 8).tolist()

    assert draws("int4", 0, "a/b@c") == draws("int4", 0, "a/b@c")
    others = [draws("int4", 1, "a/b@c"), draws("int8", 0, "a/b@c"), draws("int4", 0, "a/b@d")]
    assert draws("int4", 0, "a/b@c") not in others


def test_a_fault_that_does_not_exist_is_not_here() -> None:
    with pytest.raises(NotApplicableError):
        of_fault("no_such_fault", 0, "a/b@c")


def test_healthy_repeats_differ_in_seed_batch_and_threads() -> None:
    case = b.case()
    found = variations(case, 12, seed=0)

    assert len({v.seed for v in found}) == 12
    assert len({v.batch for v in found}) > 3
    assert {v.threads for v in found} == {1, 2}
    assert not {v.seed for v in found} & {v.seed for v in variations(case, 12, seed=1)}
    one = found[1].of(case)
    assert (one.run.seed, one.run.batch) == (found[1].seed, found[1].batch)
    assert one.tolerances == case.tolerances


class _Backend:
    """Adds the position in the batch, so that the order of rows shows."""

    name = "fake"

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    @contextmanager
    def open_candidate(self, artifact: Any, *, model: Any, target: Any) -> Any:
        del artifact, model, target
        yield self

    def run(self, inputs: Any) -> Any:
        self.seen.append(inputs["x"])
        return {"output": inputs["x"] * 2.0, "scalar": np.float32(3.0)}


def test_rows_are_shuffled_on_the_way_in_and_put_back_on_the_way_out() -> None:
    inner = _Backend()
    backend: Any = shuffled_rows("", 7, "a/b@c").backend(inner)  # type: ignore[arg-type]
    x = np.arange(24, dtype=np.float32).reshape(12, 2)
    with backend.open_candidate(None, model=None, target=None) as session:
        outputs = session.run({"x": x})

    assert backend.name == "fake"
    assert not np.array_equal(inner.seen[0], x)
    assert sorted(map(tuple, inner.seen[0])) == sorted(map(tuple, x))
    np.testing.assert_array_equal(outputs["output"], x * 2.0)
    assert outputs["scalar"] == 3.0
