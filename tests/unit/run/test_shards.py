"""Partitions that every machine finds for itself, and digests that do not know where files lie."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.core.case import Case, Plan
from gate.core.convert import to_json
from gate.core.observation import RunFailure
from gate.core.result import CaseResult
from gate.run.costs import Costs, CostsError, estimate, read_costs, write_costs
from gate.run.shards import (
    Shard,
    fingerprint,
    parse_shard,
    part_of,
    partition,
    plan_digest,
    portable,
    written_digest,
)
from tests.unit.report.records import case, observation


def cases(count: int) -> list[Case]:
    return [case(f"spec{i % 7}/q{i}@t") for i in range(count)]


@pytest.mark.parametrize("text", ["1/1", "3/16", "16/16", "256/256"])
def test_a_shard_is_read(text: str) -> None:
    assert str(parse_shard(text)) == text


@pytest.mark.parametrize(
    "text", ["0/4", "5/4", "1/257", "1", "a/b", "1/0", "-1/2", "1/2/3", " 1/2", "\u0661/\u0662"]
)
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected i/n"):
        parse_shard(text)


@settings(max_examples=60, deadline=None)
@given(
    seconds=st.lists(st.floats(0, 1e4), min_size=1, max_size=40),
    count=st.integers(1, 16),
    seed=st.integers(),
)
def test_every_case_is_in_one_shard_and_no_shard_is_much_longer_than_it_must_be(
    seconds: list[float], count: int, seed: int
) -> None:
    planned = cases(len(seconds))
    costs = Costs(known={c.id: s for c, s in zip(planned, seconds, strict=True)})
    shards = partition(planned, count, costs)
    assert sorted(name for shard in shards for name in shard) == sorted(c.id for c in planned)
    weight = {c.id: costs.milliseconds(c) for c in planned}
    longest = max(sum(weight[name] for name in shard) for shard in shards)
    least = max(math.ceil(sum(weight.values()) / count), *weight.values())
    # Graham's bound on the longest-first rule, against a lower bound of the best.
    assert longest <= (4 / 3 - 1 / (3 * count)) * least * 1.5
    shuffled = list(planned)
    random.Random(seed).shuffle(shuffled)  # noqa: S311 - an order, not a secret
    assert partition(shuffled, count, costs) == shards


def test_other_processes_find_the_same_partition() -> None:
    code = (
        "from tests.unit.run.test_shards import cases\n"
        "from gate.run.shards import partition\nfrom gate.run.costs import Costs\n"
        "print(partition(cases(50), 5, Costs()))"
    )
    root = Path(__file__).parents[3]
    found = {
        subprocess.run(
            [sys.executable, "-c", code], cwd=root, env={"PYTHONHASHSEED": seed}, capture_output=True,
            text=True, check=True,
        ).stdout
        for seed in ("0", "1")
    }  # fmt: skip
    assert found == {f"{partition(cases(50), 5, Costs())}\n"}


def test_a_shard_keeps_the_order_of_the_plan() -> None:
    plan = Plan(cases=tuple(cases(20)))
    ids = [c.id for c in plan.cases]
    for index in (1, 2, 3):
        part = part_of(plan, Shard(index=index, count=3), Costs())
        assert [c.id for c in part.cases] == [i for i in ids if i in {c.id for c in part.cases}]
        assert part.record.plan_digest == plan_digest(plan)


def test_more_samples_larger_inputs_and_calibration_cost_more() -> None:
    small = case("a/b@c")
    data = small.data
    more = replace(small, data=replace(data, evaluation=replace(data.evaluation, samples=50_000)))
    large = replace(
        small,
        model=replace(
            small.model,
            inputs={k: replace(v, shape=("N", 3, 224, 224)) for k, v in small.model.inputs.items()},
        ),
    )
    calibrated = replace(
        small,
        data=replace(data, calibration=replace(data.evaluation, samples=5000)),
        quantization=replace(small.quantization, method="onnxruntime-static"),
    )
    assert min(map(estimate, (more, large, calibrated))) > estimate(small)


def test_costs_survive_their_file_and_replace_the_estimate(tmp_path: Path) -> None:
    done = CaseResult(case=case("a/b@c"), observation=observation("a/b@c"))
    gone = CaseResult(
        case=case("a/d@c"), failure=RunFailure(kind="crash", stage="open", message="gone")
    )
    write_costs(tmp_path / "costs.json", [gone, done])
    costs = read_costs(tmp_path / "costs.json")
    assert costs.known == {"a/b@c": 2.0}
    assert costs.milliseconds(done.case) == 2000
    assert costs.milliseconds(gone.case) == round(1000 * estimate(gone.case))


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"schema": 2, "seconds": {}}', '{"schema": 1, "seconds": {"a": "1"}}',
     '{"schema": 1, "seconds": {"a": NaN}}', '{"schema": 1, "seconds": {"a": -1}}'],
)  # fmt: skip
def test_a_file_that_holds_no_costs_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "costs.json").write_text(text)
    with pytest.raises(CostsError, match=r"costs\.json"):
        read_costs(tmp_path / "costs.json")
    with pytest.raises(CostsError, match="cannot be read"):
        read_costs(tmp_path / "none.json")


def test_a_digest_does_not_know_where_files_lie() -> None:
    here, there, other = (
        Plan(cases=(replace(c, model=replace(c.model, options={"path": path, "/key": 1})),))
        for c, path in (
            (case("a/b@c"), "/home/a/m.onnx"),
            (case("a/b@c"), "/mnt/somewhere else/m.onnx"),
            (case("a/b@c"), "/home/a/n.onnx"),
        )
    )
    assert plan_digest(here) == plan_digest(there) != plan_digest(other)
    assert written_digest(map(to_json, here.cases), ()) == plan_digest(here)
    assert portable({"a": ["/x/y", 1], "/b/c": "z/w"}) == {"a": ["y", 1], "/b/c": "z/w"}


def test_a_relative_path_counts() -> None:
    text = fingerprint(to_json({"a": "x/y", "b": r"C:\x\y", "c": "/x/y", "/d/e": 1}))
    assert json.loads(text) == {"a": "x/y", "b": "y", "c": "y", "/d/e": 1}
