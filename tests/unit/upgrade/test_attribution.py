"""Who changed it: each cell of {old, new} x {stored, made anew} moved alone gives its own cause."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gate.core.observation import Observation, RunFailure
from gate.core.result import CaseResult
from gate.upgrade.attribution import Cause, Cell, Origin, Side, attribute
from gate.upgrade.difference import Degree, candidate_difference, reference_difference
from tests.unit.judge.builders import LAYER_NAMES, case, layers, logits, observation, output

OLD_MADE, OLD_STORED = (Side.OLD, Origin.MADE), (Side.OLD, Origin.STORED)
NEW_MADE, NEW_STORED = (Side.NEW, Origin.MADE), (Side.NEW, Origin.STORED)


def _noisier(factor: float, **changes: object) -> Observation:
    """The same reference, a candidate whose error is ``factor`` times as large."""
    x, y = logits()
    far = (x + factor * (y.astype(np.float64) - x)).astype(np.float32)
    return observation(outputs={"output": output(x, far)}, **changes)


def _result(observed: Observation | None, failure: RunFailure | None = None) -> CaseResult:
    return CaseResult(case=case(), observation=observed, failure=failure)


def _cells(**observed: Observation) -> dict[Cell, CaseResult]:
    names = {"old": OLD_MADE, "accepted": OLD_STORED, "stored": NEW_STORED, "made": NEW_MADE}
    return {names[name]: _result(one) for name, one in observed.items()}


SAME = observation()
WORSE = _noisier(2.0)
OTHER_FILE = {"reference": "a" * 64, "candidate": "9" * 64}
BROKEN = observation(
    pin=replace(SAME.pin, output_sha256="f" * 64, output_rms={"output": 2.0}, top1_correct=5)
)


def test_nothing_changed() -> None:
    found = attribute("c", _cells(old=SAME, stored=SAME, made=SAME))
    assert found.causes == (Cause.UNCHANGED,)
    assert found.notes == ()


def test_the_same_candidate_on_other_kernels() -> None:
    found = attribute("c", _cells(old=SAME, stored=WORSE, made=WORSE))
    assert found.causes == (Cause.KERNELS,)
    assert "SQNR" in found.findings[0].detail


def test_another_candidate_on_the_same_kernels() -> None:
    made = replace(WORSE, artifacts=OTHER_FILE)
    found = attribute("c", _cells(old=SAME, stored=SAME, made=made))
    assert found.causes == (Cause.QUANTIZER,)


def test_both() -> None:
    made = _noisier(4.0, artifacts=OTHER_FILE)
    found = attribute("c", _cells(old=SAME, stored=WORSE, made=made))
    assert found.causes == (Cause.KERNELS, Cause.QUANTIZER)


def test_another_file_of_the_same_function_is_a_note() -> None:
    made = replace(SAME, artifacts=OTHER_FILE)
    found = attribute("c", _cells(old=SAME, stored=SAME, made=made))
    assert found.causes == (Cause.UNCHANGED,)
    assert found.notes == ("the quantizer writes another file, the same function",)


def test_the_reference() -> None:
    found = attribute("c", _cells(old=SAME, stored=BROKEN, made=BROKEN))
    assert Cause.REFERENCE in found.causes
    assert "39 right answers became 5" in found.findings[0].detail


def test_the_accepted_candidate_is_what_kernels_are_judged_by() -> None:
    # What the old stack makes now is not what was accepted: the stored cells stand for the kernels.
    made = replace(WORSE, artifacts=OTHER_FILE)
    found = attribute("c", _cells(old=WORSE, accepted=SAME, stored=SAME, made=made))
    assert found.causes == (Cause.QUANTIZER,)


def test_what_cannot_run_says_which_call_is_gone() -> None:
    said = "AttributeError: module 'torch.quantization' has no attribute 'convert'"
    failure = RunFailure(kind="crash", stage="quantize", message=said)
    cells = {**_cells(old=SAME, stored=SAME), NEW_MADE: _result(None, failure)}
    found = attribute("c", cells)
    assert found.causes == (Cause.CANNOT_RUN,)
    detail = found.findings[0].detail
    assert "crash in stage quantize" in detail
    assert "use torch.ao.quantization" in detail


def test_without_the_stored_candidate_nobody_is_accused() -> None:
    failure = RunFailure(kind="refused", stage="open", message="unsupported opset")
    cells = {**_cells(old=SAME, made=WORSE), NEW_STORED: _result(None, failure)}
    assert attribute("c", cells).causes == (Cause.CANNOT_RUN, Cause.NOT_COMPARED)


@pytest.mark.parametrize("cells", [{}, {OLD_MADE: _result(None)}])
def test_without_the_old_stack_nothing_is_compared(cells: dict[Cell, CaseResult]) -> None:
    found = attribute("c", {**cells, NEW_MADE: _result(SAME)})
    assert found.causes == (Cause.NOT_COMPARED,)


def test_rounding_is_no_change() -> None:
    x, y = logits()
    near = observation(outputs={"output": output(x, y * np.float32(1 + 1e-6))})
    assert candidate_difference(SAME, near).degree is Degree.LAST_DIGITS
    pin = replace(SAME.pin, output_sha256="f" * 64, output_rms={"output": 1.25 * (1 + 1e-6)})
    assert reference_difference(SAME, observation(pin=pin)).degree is Degree.LAST_DIGITS


def test_one_flipped_answer_is_a_change() -> None:
    flipped = replace(SAME.task, candidate_top1="0" + SAME.task.candidate_top1[1:])
    found = candidate_difference(SAME, observation(task=flipped))
    assert found.degree is Degree.CHANGED
    assert found.detail == "1 of 40 samples turned between right and wrong"


def test_a_layer_left_in_float_is_a_change() -> None:
    built = layers()
    rows = tuple(
        replace(row, quantized=row.name != LAYER_NAMES[1] and row.quantized)
        for row in built.candidate
    )
    found = candidate_difference(SAME, observation(layers=replace(built, candidate=rows)))
    assert found.detail == f"1 layer of another kind: {LAYER_NAMES[1]}"


def test_nan_is_never_the_same() -> None:
    x, y = logits()
    errors = replace(output(x, y).errors, sum_y2=float("nan"))
    broken = observation(outputs={"output": replace(output(x, y), errors=errors)})
    assert candidate_difference(SAME, broken).degree is Degree.CHANGED
