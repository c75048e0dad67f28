"""What a drill found, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gate.drill.engine import Drill, HealthyCase
from gate.drill.healthy import HealthyRepeats
from gate.drill.outcome import FaultOutcome, Finding, Score, score, score_by_family
from gate.judge.wording import count, names
from gate.report import format as text
from gate.report.style import Style

_RULE_WIDTH = 52
_REASON_WIDTH = 100


def render(drill: Drill, *, require: float, style: Style) -> str:
    """All cases, what slipped with its advice, and the score."""
    parts = [*_left_out(drill)]
    for one in drill.healthy:
        own = [o for o in drill.outcomes if o.case_id == one.case.id]
        parts.append(_case(one, own, style))
    if len(drill.healthy) > 1 and drill.outcomes:
        parts.append(f"all cases\n{_families(drill.outcomes)}")
    parts.append(summary(drill, require=require, style=style))
    return "\n\n".join(part for part in parts if part) + "\n"


def summary(drill: Drill, *, require: float, style: Style) -> str:
    """The last line: the score and what it was required to be."""
    total = score(drill.outcomes)
    if total.percent is None:
        return style.paint("drill: no effective fault was planted: nothing is proved", "FAIL")
    met = total.percent >= require and not total.broken and not drill.interrupted
    line = (
        f"drill: {total.caught} of {count(total.effective, 'fault')} caught "
        f"({total.percent:.1f} %, required {require:g} %); {layers_named(total)}; "
        f"{total.equivalent} equivalent, {total.not_here} not here"
    )
    if total.broken:
        line += f", {total.broken} could not be planted properly"
    if drill.interrupted:
        line += f"; interrupted: {total.interrupted} not run"
    return style.paint(
        f"{line}; seed {drill.seed}, {text.seconds(drill.seconds)}", "PASS" if met else "FAIL"
    )


def layers_named(total: Score) -> str:
    """``right layer named 19 of 20 times (95.0 %)``."""
    if total.named_percent is None:
        return "no fault with a layer of its own"
    return (
        f"right layer named {total.named} of {total.with_layer} times ({total.named_percent:.1f} %)"
    )


def noticed_by(outcome: FaultOutcome) -> str:
    """The first check that failed, and how many other rules did."""
    if not outcome.catches:
        return ""
    rules = list(dict.fromkeys(catch.by for catch in outcome.catches))
    first = outcome.catches[0].by
    return first if len(rules) == 1 else f"{first} (+{len(rules) - 1})"


def naming(outcome: FaultOutcome) -> str:
    """``right``, what was named instead, or nothing where there is no layer to name."""
    if outcome.rightly_named is None:
        return ""
    if outcome.rightly_named:
        return "right"
    return f"not {outcome.named}" if outcome.named else "none named"


def advice_line(outcome: FaultOutcome) -> str:
    """What would have caught it, or that nothing that is measured would."""
    found = outcome.advice
    if found is None:
        best = outcome.shifts[0] if outcome.shifts else None
        if best is None or best.separation <= 0.0:
            return "nothing that is measured steadily tells it from a healthy run"
        return (
            f"nothing measured tells it from noise (most: {best.tier}.{best.metric} of {best.subject}, "
            f"{best.separation:.2g} bands)"
        )
    shift = found.shift
    unit = shift.info.unit
    return (
        f"{found.key}: {found.text!r} would catch it: {shift.subject} "
        f"{text.quantity(shift.healthy, unit)} healthy, {text.quantity(shift.faulty, unit)} with the "
        f"fault, noise {text.quantity(shift.band, unit)}"
    )


def _left_out(drill: Drill) -> Iterator[str]:
    lines = [f"  {one.id}: {one.reason}" for one in drill.not_applicable]
    lines += [f"  {one.case_id}: {one.reason}" for one in drill.sick]
    if lines:
        yield "\n".join(["not drilled", *lines])


def _case(one: HealthyCase, outcomes: Sequence[FaultOutcome], style: Style) -> str:
    lines = [
        f"{one.case.id}  (baseline: {one.baseline_from}; {one.observation.samples_evaluated} samples)"
    ]
    effective = [o for o in outcomes if o.effective]
    if effective:
        lines.append(_table(effective, style))
    for finding, title in (
        (Finding.SLIPPED, "slipped through"),
        (Finding.EQUIVALENT, "equivalent"),
        (Finding.NOT_HERE, "not here"),
        (Finding.BROKEN, "not planted properly: no result"),
        (Finding.INTERRUPTED, "interrupted"),
    ):
        found = [o for o in outcomes if o.finding is finding]
        if not found:
            continue
        if finding is Finding.INTERRUPTED:
            lines.append(f"  {title}: {names([o.fault.name for o in found], limit=8)}")
            continue
        lines.append(f"  {title}:")
        for o in found:
            why = advice_line(o) if finding is Finding.SLIPPED else o.reason
            lines.append(f"    {o.fault.name}: {_cut(why, max(_REASON_WIDTH, style.width))}")
    lines.append(_families(outcomes))
    return "\n".join(lines)


def _table(outcomes: Sequence[FaultOutcome], style: Style) -> str:
    from tabulate import tabulate

    rows = [
        (
            o.fault.family,
            o.fault.name,
            style.paint(o.finding.value, "PASS" if o.finding is Finding.CAUGHT else "FAIL"),
            _cut(noticed_by(o), _RULE_WIDTH),
            (o.planted.layer or "") if o.planted else "",
            naming(o),
        )
        for o in outcomes
    ]
    headers = ("family", "fault", "", "first noticed by", "planted in", "layer named")
    table = tabulate(rows, headers=headers, tablefmt="plain", disable_numparse=True)
    return "\n".join(f"  {line}".rstrip() for line in table.splitlines())


def _families(outcomes: Sequence[FaultOutcome]) -> str:
    from tabulate import tabulate

    rows = [
        (
            family,
            f"{s.caught}/{s.effective}",
            f"{s.named}/{s.with_layer}" if s.with_layer else "-",
            s.equivalent,
            s.not_here,
        )
        for family, s in score_by_family(outcomes).items()
    ]
    headers = ("family", "caught", "right layer", "equivalent", "not here")
    table = tabulate(rows, headers=headers, tablefmt="plain", disable_numparse=True)
    return "\n".join(f"  {line}".rstrip() for line in table.splitlines())


def _cut(words: str, width: int) -> str:
    line = " ".join(words.split())
    return line if len(line) <= width else f"{line[: width - 3]}..."


def render_healthy(found: HealthyRepeats, *, style: Style) -> str:
    """False alarms of healthy repeats, and the noise that they show."""
    lines = [f"  {alarm.case_id} ({alarm.variation}): {alarm.what}" for alarm in found.alarms]
    lines += [f"  {one.case_id}: {one.reason}" for one in found.failures]
    status = "FAIL" if found.alarms or found.failures else "PASS"
    tail = f", {count(len(found.failures), 'run')} without a result" if found.failures else ""
    lines.append(
        style.paint(
            f"healthy: {count(len(found.alarms), 'false alarm')} in {count(found.runs, 'rerun')}{tail}; "
            f"seed {found.seed}, {text.seconds(found.seconds)}",
            status,
        )
    )
    return "\n".join(lines) + "\n"
