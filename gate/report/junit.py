"""JUnit XML: one test suite a spec, one test case a tier a case.

The shape is the one that CI servers agree on (``junit-10.xsd`` of the Jenkins xUnit plug-in, with its
``error`` element): measurements are properties of the suite, since a test case may have none there,
under the name ``<quantization>@<target>::<tier>::<metric>[<subject>]``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.etree import ElementTree as ET

from gate.core.result import CaseResult
from gate.core.status import Status
from gate.core.verdict import Check, Verdict
from gate.report.checks import check_table
from gate.report.explain import Line, Topic, check_line, explain
from gate.report.style import Style
from gate.report.text import clean, one_line, tail
from gate.report.tiers import TierOutcome, shown_tiers, tier_outcomes

_OUTPUT_LINES = 50
_ELEMENT = {
    Status.FAIL: "failure",
    Status.INCONCLUSIVE: "failure",
    Status.ERROR: "error",
    Status.SKIPPED: "skipped",
    # No result that a server knows says "in part"; what passed is in the text of the skip.
    Status.NOT_COMPARABLE: "skipped",
}
_UNJUDGED = (Status.SKIPPED, Status.NOT_COMPARABLE)


def render(
    verdicts: Sequence[Verdict],
    results: Sequence[CaseResult],
    *,
    require: bool = False,
    allow_inconclusive: bool = False,
) -> str:
    """Write the report as an XML document; with ``require`` a skipped case is a failed one, and with
    ``allow_inconclusive`` an inconclusive one a skipped one: servers know no other word for it."""
    elements = dict(_ELEMENT)
    if allow_inconclusive:
        elements[Status.INCONCLUSIVE] = "skipped"
    by_id = {result.case.id: result for result in results}
    grouped: dict[str, list[tuple[Verdict, CaseResult]]] = {}
    for verdict in verdicts:
        result = by_id[verdict.case_id]
        grouped.setdefault(result.case.spec_path, []).append((verdict, result))
    suites = [_suite(path, members, elements, require=require) for path, members in grouped.items()]
    root = ET.Element("testsuites", name="gate")
    for count in ("tests", "failures", "errors"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in suites)))
    root.set("time", _time(sum(float(suite.get("time", "0")) for suite in suites)))
    root.extend(suites)
    ET.indent(root, " ")
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(
    path: str,
    members: Sequence[tuple[Verdict, CaseResult]],
    elements: Mapping[Status, str],
    *,
    require: bool,
) -> ET.Element:
    suite = ET.Element("testsuite", name=clean(path))
    properties = ET.SubElement(suite, "properties")
    total = 0.0
    for verdict, result in members:
        parts = tier_outcomes(verdict, shown_tiers(result.case))
        spent = sum(result.observation.stage_seconds.values()) if result.observation else 0.0
        total += spent
        pair = one_line(verdict.case_id.partition("/")[2])
        for place, part in enumerate(parts):
            # A case runs once for all its tiers: its time is counted once, with the first.
            seconds = spent if place == 0 else 0.0
            element = elements.get(part.status)
            if require and part.status is verdict.status and part.status in _UNJUDGED:
                element = "failure"
            suite.append(_testcase(path, pair, verdict, part, spent=seconds, element=element))
            for check in part.checks:
                _add_property(properties, pair, check)
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    for count, element in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(count, str(sum(case.find(element) is not None for case in cases)))
    suite.set("time", _time(total))
    return suite


def _add_property(properties: ET.Element, pair: str, check: Check) -> None:
    measured = check.measurement
    if measured is None or measured.value is None:
        return
    name = f"{pair}::{measured.tier}::{measured.metric}[{one_line(measured.subject)}]"
    values = {"": measured.value, ".low": measured.low, ".high": measured.high}
    for suffix, value in values.items():
        if value is not None:
            text = f"{value!r} {measured.unit}".rstrip()
            ET.SubElement(properties, "property", name=name + suffix, value=text)


def _testcase(
    path: str,
    pair: str,
    verdict: Verdict,
    part: TierOutcome,
    *,
    spent: float,
    element: str | None,
) -> ET.Element:
    case = ET.Element(
        "testcase", classname=clean(path), name=f"{pair}::{part.tier}", time=_time(spent)
    )
    if element is not None:
        message, text = _reason(verdict, part)
        told = ET.SubElement(case, element, type=part.status.value, message=message)
        told.text = text
    elif part.expected:
        ET.SubElement(case, "system-out").text = one_line(part.note)
    return case


def _reason(verdict: Verdict, part: TierOutcome) -> tuple[str, str]:
    """Attribute ``message`` and text of a failure, error or skip."""
    decisive = [check for check in part.checks if check.status is part.status]
    message = one_line(part.note) or (check_line(decisive[0]) if decisive else part.status.value)
    lines = [_plain(line) for line in explain(verdict)]
    table = check_table(part.checks, Style(), failing_only=True)
    return message, clean("\n".join([*lines, *([table] if table else [])]))


def _plain(line: Line) -> str:
    text = tail(line.text, _OUTPUT_LINES) if line.topic is Topic.OUTPUT else line.text
    return f"{line.topic}: {text}"


def _time(value: float) -> str:
    """Seconds with three digits, the precision of the format."""
    return f"{value:.3f}"
