"""Table of single checks, for ``-v`` and for failing pytest items."""

from __future__ import annotations

from collections.abc import Sequence

from gate.core.status import Status
from gate.core.verdict import Check
from gate.judge.wording import count
from gate.report.explain import remark
from gate.report.format import apart, demand, quantity, span
from gate.report.grid import grid
from gate.report.style import Style
from gate.report.text import one_line

_SUBJECT_WIDTH = 40
_DEMAND_WIDTH = 34


def check_table(checks: Sequence[Check], style: Style, *, failing_only: bool = False) -> str:
    """One row a check: status, rule, subject, measured, demanded, baseline; messages below.

    With ``failing_only`` rows that passed are counted instead of shown.
    """
    shown = [c for c in checks if not failing_only or c.status is not Status.PASS]
    lines: list[str] = []
    if shown:
        rows = [_row(check, style) for check in shown]
        headers = ["", "tier", "rule", "subject", "measured", "demanded", "baseline"]
        # A column that says nothing is not worth its width.
        used = [i for i in range(len(headers)) if any(row[i] not in ("", "-") for row in rows)]
        right = {"measured", "baseline"}
        lines.append(
            grid(
                [headers[i] for i in used],
                [[row[i] for i in used] for row in rows],
                right=[place for place, i in enumerate(used) if headers[i] in right],
            )
        )
    lines.extend(
        f"{check.tier}.{check.rule} ({one_line(check.subject)}): {said}"
        for check in shown
        if (said := _said(check))
    )
    if len(shown) < len(checks):
        lines.append(f"{count(len(checks) - len(shown), 'more check')} passed")
    return "\n".join(lines)


def _said(check: Check) -> str:
    """What a line below the table says: why a check did not pass, or what is behind its value."""
    if check.status is not Status.PASS:
        return remark(check)
    detail = one_line(check.measurement.detail) if check.measurement is not None else ""
    return "; ".join(part for part in (remark(check), detail) if part) if detail else ""


def _row(check: Check, style: Style) -> list[str]:
    measured = check.measurement
    unit = measured.unit if measured is not None else ""
    value, bound = apart(measured.value if measured is not None else None, check.bound, unit)
    if measured is not None and measured.value is None:
        value = "none"
    elif measured is not None and measured.low is not None and measured.high is not None:
        value += f" {span(measured.low, measured.high, unit)}"
    return [
        style.paint(check.status.value, check.status.value),
        check.tier.value,
        check.rule,
        _short(one_line(check.subject), _SUBJECT_WIDTH),
        value,
        _short(demand(check.tolerance, bound), _DEMAND_WIDTH) or "-",
        quantity(check.baseline, unit),
    ]


def _short(text: str, width: int) -> str:
    """Cut the middle out of a long name: the end of a layer's path is what tells it apart."""
    if len(text) <= width:
        return text
    kept = width - 3
    return f"{text[: kept // 3]}...{text[-(kept - kept // 3) :]}"
