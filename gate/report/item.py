"""What one tier of one case says as a test item: its properties, and why it was skipped or failed."""

from __future__ import annotations

from collections.abc import Iterable

from gate.core.verdict import Verdict
from gate.report.checks import check_table
from gate.report.explain import Topic, check_line, explain
from gate.report.style import Style
from gate.report.text import tail
from gate.report.tiers import TierOutcome


def properties(part: TierOutcome) -> Iterable[tuple[str, str]]:
    """Measurements, for ``--junitxml``."""
    for check in part.checks:
        measured = check.measurement
        if measured is not None and measured.value is not None:
            name = f"{measured.metric}[{measured.subject}]"
            values = {"": measured.value, ".low": measured.low, ".high": measured.high}
            for suffix, value in values.items():
                if value is not None:
                    yield name + suffix, f"{value!r} {measured.unit}".rstrip()


def skip_reason(part: TierOutcome) -> str:
    """Why this tier was not judged."""
    told = [c.message for c in part.checks if c.status is part.status and c.message]
    return part.note or "; ".join(dict.fromkeys(told))


def decisive(part: TierOutcome) -> str:
    """What decided this tier."""
    first = next((check for check in part.checks if check.status is part.status), None)
    return part.note or (check_line(first) if first is not None else "")


def failure_text(verdict: Verdict, part: TierOutcome) -> str:
    """Why the tier did not pass, its checks that did not, and what a crashed worker last printed."""
    # pytest's own summary shows the first line.
    lines = [f"{part.status}: {decisive(part)}", f"case: {verdict.case_id}"]
    for line in explain(verdict):
        if line.topic in (Topic.LAYER, Topic.BASELINE, Topic.NOTE):
            lines.append(f"{line.topic}: {line.text}")
        elif line.topic is Topic.OUTPUT:
            lines += [f"{line.topic}:", tail(line.text, 40)]
    if part.checks:
        lines += ["", check_table(part.checks, Style(), failing_only=True)]
    return "\n".join(lines)
