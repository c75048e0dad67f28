"""Intervals, flips and allowed inconclusive cases, in every report."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from gate.core.flipped import Flipped, FlipsCompared
from gate.core.status import Status
from gate.core.verdict import Verdict
from gate.report import json_report, junit, markdown
from gate.report.checks import check_table
from gate.report.explain import check_line
from gate.report.format import span
from gate.report.style import Style
from tests.unit.report import records


def drop(status: Status = Status.PASS):
    made = records.check("top1_drop", status, message="0.25 pp, demanded < 1 pp (exact)")
    assert made.measurement is not None
    detail = "3 right to wrong (1 as in the baseline, 2 new: 5, 9); 0 wrong to right"
    return replace(made, measurement=replace(made.measurement, low=-0.5, high=1.25, detail=detail))


def verdict(status: Status = Status.PASS) -> Verdict:
    now, then = Flipped(lost=(3, 5, 9), gained=()), Flipped(lost=(3, 4), gained=(1,))
    flips = FlipsCompared(metric="top1", now=now, accepted=then)
    return replace(records.PASSED, checks=(*records.PASSED.checks, drop(status)), flips=(flips,))


@pytest.mark.parametrize(
    ("low", "high", "unit", "text"),
    [
        (-0.12345, 1.5, "pp", "[-0.123 .. 1.5]"),
        (0.97, 1.03, "x", "[0.97 .. 1.03]"),
        (0.9, 0.99, "ms", "[900 .. 990]"),
        (0.5, 2.0, "ms", "[500 us .. 2 ms]"),
    ],
)
def test_an_interval_shares_the_unit_of_its_value_where_it_can(low, high, unit, text) -> None:
    assert span(low, high, unit) == text


def test_the_table_shows_the_interval_and_what_is_behind_a_drop() -> None:
    text = check_table([drop()], Style())
    assert "0.25 pp [-0.5 .. 1.25]" in text
    assert (
        "device.top1_drop (case): exact; 3 right to wrong (1 as in the baseline, 2 new: 5, 9)"
        in text
    )
    assert "[-0.5 .. 1.25]" in check_line(drop(Status.FAIL))


def test_json_has_every_flip() -> None:
    told = verdict()
    (case,) = json.loads(json_report.render([told], [records.result_of(told)]))["cases"]
    assert case["flips"] == {"top1": {"lost": [3, 5, 9], "gained": [], "new": [5, 9], "gone": [4]}}
    (check,) = [c for c in case["checks"] if c["low"] is not None and c["rule"] == "top1_drop"]
    assert (check["low"], check["high"]) == (-0.5, 1.25)
    unknown = replace(told, flips=(replace(told.flips[0], accepted=None),))
    (case,) = json.loads(json_report.render([unknown], [records.result_of(unknown)]))["cases"]
    assert (case["flips"]["top1"]["new"], case["flips"]["top1"]["gone"]) == (None, None)


def test_junit_has_the_ends_as_properties() -> None:
    told = verdict()
    root = ET.fromstring(junit.render([told], [records.result_of(told)]))  # noqa: S314 - our own
    values = {p.get("name", "").rpartition("::")[2]: p.get("value") for p in root.iter("property")}
    assert values["top1_drop[case].low"] == "-0.5 pp"
    assert values["top1_drop[case].high"] == "1.25 pp"


def test_an_allowed_inconclusive_tier_is_no_failure_for_a_server() -> None:
    told = verdict(Status.INCONCLUSIVE)
    counts = []
    for allowed in (False, True):
        text = junit.render([told], [records.result_of(told)], allow_inconclusive=allowed)
        (suite,) = ET.fromstring(text)  # noqa: S314 - our own
        counts.append((suite.get("failures"), suite.get("skipped")))
    assert counts == [("1", "0"), ("0", "1")]


def test_markdown_shows_the_interval_of_the_drop() -> None:
    told = verdict()
    row = next(
        line
        for line in markdown.render([told], [records.result_of(told)]).split("\n")
        if "PASS |" in line
    )
    assert " pp \\[" in row
