"""A drill as a table, JSON and Markdown: the same facts in all of them, and the exit code."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from gate.cli.drill import exit_code
from gate.core.baseline import BaselineFound
from gate.core.case import NotApplicable
from gate.core.observation import RunFailure
from gate.core.status import ExitCode
from gate.drill.documents import as_json, as_markdown
from gate.drill.engine import IN_MEMORY, Drill, HealthyCase, Sick
from gate.drill.healthy import Alarm, HealthyRepeats, come_to
from gate.drill.outcome import FaultOutcome
from gate.drill.report import render, render_healthy
from gate.judge.judge import judge
from gate.report.style import Style
from tests.unit.drill.test_outcome import CALIBRATION, LATENCY, outcome
from tests.unit.judge import builders as b


def healthy() -> HealthyCase:
    lookup = BaselineFound(baseline=b.baseline())
    return HealthyCase(
        case=b.case(),
        observation=b.observation(),
        lookup=lookup,
        verdict=judge(b.case(), b.observation(), lookup),
        baseline_from=IN_MEMORY,
    )


def drill(*outcomes: FaultOutcome, **changes: object) -> Drill:
    return replace(Drill(seed=3, healthy=(healthy(),), outcomes=outcomes), **changes)


CAUGHT = outcome(b.observation(layers=b.layers(conv2=0.5)))
SLIPPED = outcome(b.observation(layers=b.layers(conv2=0.056)), layer=None)
EQUIVALENT = outcome(b.observation(), fault=CALIBRATION, layer=None)
BROKEN = outcome(
    None, failure=RunFailure(kind="injection", stage="quantize", message="KeyError"), planted=None
)
NOT_HERE = outcome(
    None, failure=RunFailure(kind="not-here", stage="quantize", message="no bias"), planted=None
)


def test_the_table_tells_everything_in_its_place() -> None:
    left_out = NotApplicable(id="x/y@z", reason="is expected to fail")
    text = render(
        drill(CAUGHT, SLIPPED, EQUIVALENT, NOT_HERE, not_applicable=(left_out,)),
        require=95,
        style=Style(),
    )

    assert "x/y@z: is expected to fail" in text
    assert "layers.sqnr >= 20.0" in text
    assert "slipped through:\n    scale_x1_05: " in text
    assert "would catch it: conv2" in text
    assert "equivalent:\n" in text
    assert "not here:\n    scale_x1_05: no bias" in text
    assert (
        "drill: 1 of 2 faults caught (50.0 %, required 95 %); right layer named 1 of 1 times (100.0 %); "
        "1 equivalent, 1 not here; seed 3" in text
    )


def test_json_holds_scores_catches_and_measurements() -> None:
    document = json.loads(as_json(drill(CAUGHT, SLIPPED, EQUIVALENT), require=95))

    assert document["score"]["percent"] == 50.0
    assert document["families"]["weights"]["caught"] == 1
    (case,) = document["cases"]
    caught, slipped, equivalent = case["faults"]
    assert caught["caught_by"][0]["rule"] == "sqnr"
    assert caught["rightly_named"] is True
    assert slipped["advice"]["metric"].startswith("layers.")
    assert any(m["metric"] == "layers.sqnr" and m["subject"] == "conv2" for m in slipped["metrics"])
    assert equivalent["finding"] == "equivalent"


def test_json_writes_a_value_that_is_gone_as_null() -> None:
    import numpy as np

    x, y = b.logits()
    y[0, 0] = np.nan
    found = outcome(b.observation(outputs={"output": b.output(x, y)}))
    document = json.loads(as_json(drill(found), require=95))

    (fault,) = document["cases"][0]["faults"]
    assert any(m["faulty"] is None for m in fault["metrics"])


def test_markdown_leads_with_the_score_and_escapes_cells() -> None:
    page = as_markdown(drill(CAUGHT, SLIPPED), require=95)

    assert page.startswith("# Drill\n\n**1 of 2 faults caught (50.0 %, required 95 %)**")
    assert "- **scale_x1_05** slipped through" in page
    assert "| weights | scale_x1_05 | caught | layers.sqnr >= 20.0" in page


@pytest.mark.parametrize(
    ("found", "require", "code"),
    [
        (drill(CAUGHT), 95, ExitCode.PASS),
        (drill(CAUGHT, SLIPPED), 95, ExitCode.FAIL),
        (drill(CAUGHT, SLIPPED), 50, ExitCode.PASS),
        (drill(CAUGHT, EQUIVALENT, NOT_HERE), 100, ExitCode.PASS),
        (drill(CAUGHT, BROKEN), 95, ExitCode.INFRASTRUCTURE),
        (drill(EQUIVALENT), 95, ExitCode.INFRASTRUCTURE),
        (drill(CAUGHT, sick=(Sick(case_id="a", reason="b"),)), 95, ExitCode.INFRASTRUCTURE),
        (drill(outcome(b.observation(), fault=LATENCY, layer=None)), 95, ExitCode.FAIL),
    ],
)
def test_the_exit_code_follows_the_score_where_it_has_a_meaning(
    found: Drill, require: float, code: int
) -> None:
    assert exit_code(found, require=require) == code


def test_no_effective_fault_proves_nothing() -> None:
    assert "nothing is proved" in render(drill(EQUIVALENT), require=95, style=Style())


def test_the_noise_of_a_case_knows_on_how_many_samples() -> None:
    one = healthy()
    found = come_to([], [one], seed=0)

    assert found.noise[one.case.id].samples == one.observation.samples_evaluated > 0


def test_false_alarms_are_told_with_their_variation() -> None:
    alarm = Alarm(case_id="a/b@c", variation="seed 3, batch 8, 2 threads", what="FAIL: layers.sqnr")
    found = HealthyRepeats(seed=0, runs=20, alarms=(alarm,))
    text = render_healthy(found, style=Style())

    assert "a/b@c (seed 3, batch 8, 2 threads): FAIL: layers.sqnr" in text
    assert "1 false alarm in 20 reruns" in text
    quiet = render_healthy(HealthyRepeats(seed=0, runs=200), style=Style())
    assert quiet.startswith("healthy: 0 false alarms in 200 reruns; seed 0")
