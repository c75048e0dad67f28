"""What ``gate localise`` found, as text and as JSON."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

from gate.core.canonical import JsonValue
from gate.core.layer import ErrorSums, LayerMatch
from gate.core.result import CaseResult
from gate.core.verdict import Verdict
from gate.judge.wording import count
from gate.metrics.elementwise import SQNR_LIMIT_DB, sqnr_db, worst_channel_nmse_percent
from gate.report.text import one_line
from gate.run.localise import Localised, Sensitivity
from gate.run.reproductions import shown

_LAYERS_SHOWN = 12
_PAIRS_SHOWN = 5
_WHY = 200
"""Characters of a quantizer's refusal."""


def as_text(result: CaseResult, verdict: Verdict, answer: Localised | str) -> str:
    """One case, for people."""
    lines = [f"{result.case.id}: {verdict.status}"]
    if verdict.first_bad_layer is not None:
        why = f" ({verdict.first_bad_layer_why})" if verdict.first_bad_layer_why else ""
        lines.append(one_line(f"first bad layer: {verdict.first_bad_layer}{why}"))
    seen = result.observation.layers if result.observation is not None else None
    if seen is not None:
        lines += ["", _layers(seen.matches)]
    if isinstance(answer, str):
        return "\n".join([*lines, "", one_line(answer), ""])
    if answer.folder is not None:
        lines += ["", f"saved to run by itself: {shown(answer.folder)}"]
    elif answer.why_no_folder:
        lines += ["", one_line(f"nothing saved: {answer.why_no_folder}")]
    if answer.sensitivity is not None:
        lines += ["", *_sensitivity(answer.sensitivity)]
    elif answer.why_no_ranking:
        lines += ["", one_line(f"no ranking: {answer.why_no_ranking}")]
    return "\n".join([*lines, ""])


def as_json(result: CaseResult, verdict: Verdict, answer: Localised | str) -> dict[str, JsonValue]:
    """One case, for programs; decibels and per cent, None where there is no value."""
    seen = result.observation.layers if result.observation is not None else None
    done = answer if isinstance(answer, Localised) else None
    ranked = done.sensitivity if done is not None else None
    return {
        "case": result.case.id,
        "status": verdict.status.value,
        "first_bad_layer": verdict.first_bad_layer,
        "first_bad_layer_why": verdict.first_bad_layer_why,
        "layers": [
            {
                "layer": match.candidate,
                "reference": list(match.reference),
                "isolated_sqnr_db": _db(match.isolated),
                "isolated_worst_channel_nmse_percent": _channel(match.isolated),
                "sqnr_db": _db(match.errors),
                "why_not_isolated": match.why_not_isolated,
            }
            for match in (seen.matches if seen is not None else ())
        ],
        "reproduction": shown(done.folder) if done is not None and done.folder else None,
        "why_no_reproduction": done.why_no_folder if done is not None else "",
        "sensitivity": _plain(ranked) if ranked is not None else None,
        "why_no_ranking": done.why_no_ranking if done is not None else "",
        "error": answer if isinstance(answer, str) else "",
    }


def _plain(ranked: Sensitivity) -> dict[str, JsonValue]:
    found = ranked.found
    return {
        "samples": ranked.samples,
        "sqnr_db": found.start.sqnr_db,
        "passes": found.start.passes,
        "ranking": [
            {"layer": g.layer, "gain_db": g.gain_db, "isolated_sqnr_db": g.isolated_sqnr_db}
            for g in found.ranking
        ],
        "joint": [{"layers": [one, other], "gain_db": db} for one, other, db in found.joint],
        "refused": dict(found.refused),
        "keep_float": list(found.kept) if found.kept is not None else None,
        "sqnr_db_with": found.best.sqnr_db,
        "out_of_time": found.out_of_time,
        "candidates": found.tried,
        "fragment": ranked.fragment,
        "verified": ranked.verified,
        "remark": ranked.remark,
    }


def _layers(matches: Sequence[LayerMatch]) -> str:
    """The layers that are worst by themselves, in order of execution."""
    alone = {m.candidate: db for m in matches if (db := _db(m.isolated)) is not None}
    worst = set(sorted(alone, key=lambda name: alone[name])[:_LAYERS_SHOWN])
    rows = [
        (m.candidate, _told(alone[m.candidate]), _percent(m.isolated), _told(_db(m.errors)))
        for m in matches
        if m.candidate in worst
    ]
    headers = ("layer", "alone, dB", "worst channel, %", "in place, dB")
    table = tabulate(
        rows, headers=headers, disable_numparse=True, colalign=("left",) + ("right",) * 3
    )
    left = len(matches) - len(rows)
    return table + (
        f"\nand {count(left, 'layer')} that are better, or not run alone" if left else ""
    )


def _sensitivity(ranked: Sensitivity) -> list[str]:
    found = ranked.found
    measured = [gain for gain in found.ranking if gain.gain_db is not None]
    seen = f"{len(measured)} of {count(len(found.ranking), 'layer')} measured"
    on = f"on {count(ranked.samples, 'sample')}; all quantized: {_told(found.start.sqnr_db)} dB"
    lines = [
        f"taken back to float one by one ({seen} {on}):",
        tabulate(
            [
                (g.layer, f"{g.gain_db:+.2f}", _told(g.isolated_sqnr_db))
                for g in measured[:_LAYERS_SHOWN]
            ],
            headers=("layer", "output gains, dB", "alone, dB"),
            disable_numparse=True,
            colalign=("left", "right", "right"),
        ),
    ]
    lines += [
        f"{one} and {other}: {gain:+.2f} dB together"
        for one, other, gain in found.joint[:_PAIRS_SHOWN]
    ]
    lines += [one_line(f"{layer}: {why}"[:_WHY]) for layer, why in found.refused.items()]
    if ranked.fragment:
        kept = found.kept or ()
        checked = "checked on all samples" if ranked.verified else "does NOT pass"
        gives = f"the output has {_told(found.best.sqnr_db)} dB; {checked}"
        lines += ["", f"with {count(len(kept), 'layer')} in float {gives}:", ""]
        lines.append(ranked.fragment.rstrip())
    if ranked.remark:
        lines += ["", one_line(ranked.remark)]
    return lines


def _db(sums: ErrorSums | None) -> float | None:
    return sqnr_db(sums) if sums is not None else None


def _channel(sums: ErrorSums | None) -> float | None:
    return worst_channel_nmse_percent(sums) if sums is not None else None


def _percent(sums: ErrorSums | None) -> str:
    value = _channel(sums)
    return "-" if value is None else f"{value:.3g}"


def _told(value: float | None) -> str:
    if value is None:
        return "-"
    return "exact" if value >= SQNR_LIMIT_DB else f"{value:.1f}"
