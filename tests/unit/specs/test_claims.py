"""The published claims: each has a spec and a row of the page, and what the row quotes is what the gate says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gate.core.baseline import BaselineMissing
from gate.core.case import Case
from gate.core.result import CaseResult
from gate.core.spec import Spec
from gate.core.status import Status
from gate.core.verdict import Verdict
from gate.drill.cases import reduced
from gate.judge.results import verdict_of
from gate.quantize.base import QuantizeError
from gate.report.explain import explain
from gate.run.announce import Announcer
from gate.run.job import Job
from gate.run.mutation import Mutation
from gate.run.observe import observe
from gate.spec.load import load_specs
from gate.spec.matrix import plan

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "explanation" / "claims.md"
CLAIMS = [f"C{number}" for number in range(1, 14)]
FAILING = {
    "c05_lstm": (r"size_ratio = 3\.9\d x, demanded >= 4 x", "C5"),
    "c06_stub_conv": (r"size_ratio = 1\.\d+ x, demanded >= 3\.98 x", "C6"),
}


FEW_SAMPLES = 2


@pytest.fixture(scope="module")
def specs() -> Iterator[dict[str, Spec]]:
    """The specs of the claims by id, the named model and its stand-in of each."""
    patch = pytest.MonkeyPatch()
    patch.chdir(ROOT)
    yield {spec.id: spec for spec in load_specs(["specs/claims"], both=True)}
    patch.undo()


@pytest.fixture(scope="module")
def rows() -> dict[str, str]:
    """Rows of the page's table by the claim that they begin with."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    found = [(re.match(r"\| (C\d+) ", line), line) for line in lines]
    return {match[1]: line for match, line in found if match}


def only_case(spec: Spec) -> Case:
    (case,) = plan([spec]).cases
    return reduced(case, FEW_SAMPLES)


def verdict(case: Case, folder: Path) -> Verdict:
    """Observed and judged in this process; nothing is timed."""
    job = Job(
        case=case,
        nonce="claims",
        cache_dir=folder / "cache",
        cache_bytes=10**9,
        lock_dir=folder,
        jobs=1,
        mutation=Mutation(factory="none", fault="none", seed=0, case_id=case.id, timed=False),
    )
    seen = observe(job, work=folder, announcer=Announcer(None))
    return verdict_of(CaseResult(case=case, observation=seen), BaselineMissing(path="none"))


def said(found: Verdict) -> str:
    return "\n".join(line.text for line in explain(found))


def test_every_claim_has_a_spec_and_a_row_and_no_other(
    specs: dict[str, Spec], rows: dict[str, str]
) -> None:
    numbers = {f"C{int(name[1:3])}" for name in specs}
    assert numbers == set(rows) == set(CLAIMS)


def test_a_spec_bounds_what_is_claimed_on_the_device_and_needs_no_baseline(
    specs: dict[str, Spec],
) -> None:
    for name, spec in specs.items():
        for case in plan([spec]).cases:
            assert case.baseline_policy == "ignore", name
            assert any(bound.tier.value == "device" for bound in case.tolerances), case.id


def test_static_quantization_of_resnet50_is_held_to_its_own_figures(
    specs: dict[str, Spec],
) -> None:
    bounds = {
        case.id.rpartition("/")[2]: {
            (bound.metric, bound.text) for bound in case.tolerances if bound.tier.value == "device"
        }
        for case in plan([specs["c03_resnet50_dynamic"]]).cases
    }
    assert ("size", "<= 24.6 MiB") in bounds["printed@torch-fbgemm"]
    assert ("size", "<= 23.8 MiB") in bounds["right@torch-fbgemm"]
    assert ("speedup", ">= 1.66 x") in bounds["right@torch-fbgemm"]
    assert ("speedup", ">= 1.57 x") not in bounds["right@torch-fbgemm"]


@pytest.mark.parametrize("name", FAILING)
def test_a_claim_that_fails_fails_for_the_reason_that_the_page_quotes(
    specs: dict[str, Spec], rows: dict[str, str], name: str, tmp_path: Path
) -> None:
    reason, claim = FAILING[name]
    found = verdict(only_case(specs[name]), tmp_path)
    assert found.status is Status.FAIL
    assert re.search(reason, said(found)), said(found)
    assert re.search(reason, rows[claim])


def test_the_small_network_as_printed_cannot_run(
    specs: dict[str, Spec], rows: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(QuantizeError) as raised:
        verdict(only_case(specs["c02_small_as_printed"]), tmp_path)
    reason = "mat1 and mat2 shapes cannot be multiplied (8x3154176 and 64x10)"
    assert reason in str(raised.value)
    assert reason in rows["C2"]


def test_the_three_steps_hold_but_for_what_is_timed(specs: dict[str, Spec], tmp_path: Path) -> None:
    (case,) = plan([specs["c12_three_steps"]]).cases
    untimed = tuple(bound for bound in case.tolerances if bound.metric != "speedup")
    found = verdict(replace(case, tolerances=untimed), tmp_path)
    assert found.status is Status.PASS, said(found)
