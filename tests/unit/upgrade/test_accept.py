"""Which cases an upgrade's new baselines are of, what each says of itself, and what is left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gate.baseline.store import BaselineStore
from gate.core.case import Case
from gate.core.observation import Observation, RunFailure
from gate.core.result import CaseResult
from gate.report.verdicts import judged
from gate.upgrade import report
from gate.upgrade.accept import acceptance, write
from gate.upgrade.attribution import Attribution, Cause, Cell, Finding, Origin, Side
from gate.upgrade.compare import Upgraded
from gate.upgrade.stacks import Stack
from tests.unit.judge.builders import PROVENANCE, baseline, case, logits, observation, output

HEADING = "upgrade of onnxruntime 1.20.1 -> 1.31.1"
ONE, TWO, THREE = (f"digits/{name}@torch-x86" for name in ("one", "two", "three"))
FAILURE = RunFailure(kind="crash", stage="quantize", message="no such call | <b>")


def _noisier(case_id: str, factor: float) -> Observation:
    x, y = logits()
    far = (x + factor * (y.astype(np.float64) - x)).astype(np.float32)
    return observation(case_id=case_id, outputs={"output": output(x, far)})


def _upgraded(
    case_id: str, found: Observation | RunFailure, cause: Cause, detail: str = ""
) -> Upgraded:
    planned: Case = case(id=case_id, baseline_policy="require")
    seen = found if isinstance(found, Observation) else None
    failure = found if isinstance(found, RunFailure) else None
    # As the cell is: run without its baseline.
    cell = CaseResult(case=case(id=case_id), observation=seen, failure=failure)
    cells: dict[Cell, CaseResult] = {(Side.NEW, Origin.MADE): cell}
    finding = Finding(cause=cause, detail=detail)
    return Upgraded(
        case=planned,
        cells=cells,
        attribution=Attribution(case_id=case_id, findings=(finding,), notes=("a note",)),
        verdict=judged(replace(cell, case=planned), BaselineStore(Path("none"))),
    )


@pytest.fixture
def store(tmp_path: Path) -> BaselineStore:
    made = BaselineStore(tmp_path / "baselines")
    made.write_all([baseline(case_id=case_id) for case_id in (ONE, TWO, THREE)])
    return made


def test_what_cannot_be_accepted_keeps_nothing_else_back(
    tmp_path: Path, store: BaselineStore
) -> None:
    better = _upgraded(ONE, _noisier(ONE, 0.5), Cause.QUANTIZER, "1 layer gone: x")
    broken = _upgraded(TWO, FAILURE, Cause.CANNOT_RUN, "quantizing anew: crash")
    worse = _upgraded(THREE, _noisier(THREE, 2.0), Cause.KERNELS, "SQNR 40 dB became 34 dB")
    every = [better, broken, worse]

    def accept(*words: str) -> dict[str, str]:
        found = acceptance(every, store, heading=HEADING, root=tmp_path, accept_worse=words)
        assert {r.baseline.case_id for r in found.recordings}.isdisjoint(dict(found.left_out))
        write(found, every, store, tmp_path)
        return dict(found.left_out)

    left = accept()
    assert set(left) == {TWO, THREE}
    assert left[TWO] == "ERROR in stage quantize: no such call | <b>"
    assert "numerical.sqnr" in left[THREE]
    assert "--accept-worse numerical.sqnr" in left[THREE]
    reasons = {path.parent.name: store.check(path).provenance.reason for path in store.files()}
    assert reasons == {
        "one@torch-x86": f"{HEADING}: quantizer changed: 1 layer gone: x; a note",
        "two@torch-x86": PROVENANCE.reason,
        "three@torch-x86": PROVENANCE.reason,
    }
    assert set(accept("*")) == {TWO}
    (file,) = store.files(THREE)
    assert store.check(file).provenance.reason == (
        f"{HEADING}: kernels changed: SQNR 40 dB became 34 dB; a note"
    )


def test_what_fails_its_own_tolerances_is_left_out(tmp_path: Path, store: BaselineStore) -> None:
    failing = _upgraded(ONE, _noisier(ONE, 30.0), Cause.KERNELS)
    found = acceptance([failing], store, heading=HEADING, root=tmp_path, accept_worse=["*"])
    assert found.recordings == ()
    ((case_id, why),) = found.left_out
    assert case_id == ONE
    assert why.startswith("FAIL: numerical.sqnr")


def test_every_report_names_what_is_left_out() -> None:
    stack = Stack(name="it", python=Path("python"), versions={})
    broken = _upgraded(TWO, FAILURE, Cause.CANNOT_RUN)
    left = [(TWO, FAILURE.message)]
    words = (stack, stack, [broken])
    title = "1 case left out of the update of the baselines"
    assert f"{title}\n  {TWO}: no such call | <b>\n" in report.terminal(*words, left)
    assert f"### {title}\n\n- {TWO}: no such call \\| &lt;b>\n" in report.markdown(*words, left)
    assert report.plain(*words, left)["left_out"] == [{"case_id": TWO, "reason": FAILURE.message}]
    assert title not in report.terminal(*words) + report.markdown(*words)
