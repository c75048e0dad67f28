"""The comparison of two stacks, for a terminal, for Markdown and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from gate.core.convert import to_plain
from gate.core.result import CaseResult
from gate.judge.wording import count
from gate.report.figures import drop_text, figures
from gate.report.format import quantity
from gate.report.grid import grid
from gate.report.outcome import outcome, spaced
from gate.report.text import one_line
from gate.upgrade.attribution import Cause, Origin, Side
from gate.upgrade.compare import Upgraded
from gate.upgrade.speed import speedup_apart, speedup_interval
from gate.upgrade.stacks import Stack

LeftOut = Sequence[tuple[str, str]]
"""(case, why its baseline is not updated)."""
_HEAD = ("case", "the upgrade", "SQNR", "top-1 drop", "speed-up", "verdict on the new stack")


def title(old: Stack, new: Stack) -> str:
    """What was upgraded, in one line: also the reason of baselines that are accepted after it."""
    changed = changes(old, new)
    listed = ", ".join(
        f"{name} {then or 'absent'} -> {now or 'absent'}" for name, then, now in changed
    )
    return f"upgrade of {listed}" if listed else "upgrade: both stacks have the same versions"


def changes(old: Stack, new: Stack) -> list[tuple[str, str, str]]:
    """(distribution, version before, version after) of all that differ; empty where absent."""
    return [
        (name, old.versions.get(name, ""), new.versions.get(name, ""))
        for name in sorted({*old.versions, *new.versions})
        if old.versions.get(name) != new.versions.get(name)
    ]


def reason(item: Upgraded, heading: str) -> str:
    """Why the new stack's result of a case is accepted: the upgrade, and what it did to this case."""
    causes = [
        f"{f.cause}: {f.detail}" if f.detail else str(f.cause) for f in item.attribution.findings
    ]
    return one_line(f"{heading}: {'; '.join([*causes, *item.attribution.notes])}")


def summary(upgraded: Sequence[Upgraded]) -> str:
    """How many cases of each cause."""
    tally = Counter(cause for item in upgraded for cause in item.attribution.causes)
    listed = ", ".join(f"{tally[cause]} {cause}" for cause in Cause if tally[cause])
    return f"{count(len(upgraded), 'case')}: {listed}" if upgraded else "no case"


def terminal(old: Stack, new: Stack, upgraded: Sequence[Upgraded], left_out: LeftOut = ()) -> str:
    """A table and, below it, what each cause rests on; last what an update leaves out."""
    blocks = [title(old, new), grid(_HEAD, [_row(item) for item in upgraded])]
    for item in upgraded:
        lines = [f"{item.case.id}"]
        lines += [f"  {f.cause}: {f.detail}" for f in item.attribution.findings if f.detail]
        lines += [f"  note: {note}" for note in item.attribution.notes]
        if len(lines) > 1:
            blocks.append("\n".join(lines))
    blocks.append(summary(upgraded))
    if left_out:
        lines = [f"  {case_id}: {one_line(why)}" for case_id, why in left_out]
        blocks.append("\n".join([_left(left_out), *lines]))
    return "\n\n".join(blocks) + "\n"


def markdown(old: Stack, new: Stack, upgraded: Sequence[Upgraded], left_out: LeftOut = ()) -> str:
    """The same for a pull request."""
    rows = [[_cell(text) for text in _row(item)] for item in upgraded]
    parts = [f"## {_cell(title(old, new))}", summary(upgraded)]
    parts.append(tabulate(rows, headers=_HEAD, tablefmt="pipe", disable_numparse=True))
    for item in upgraded:
        said = [
            f"- **{f.cause}**: {_cell(f.detail)}" for f in item.attribution.findings if f.detail
        ]
        said += [f"- {_cell(note)}" for note in item.attribution.notes]
        if said:
            parts.append(f"### {_cell(item.case.id)}\n\n" + "\n".join(said))
    if left_out:
        listed = "\n".join(f"- {_cell(case_id)}: {_cell(why)}" for case_id, why in left_out)
        parts.append(f"### {_left(left_out)}\n\n{listed}")
    return "\n\n".join(parts) + "\n"


def plain(
    old: Stack, new: Stack, upgraded: Sequence[Upgraded], left_out: LeftOut = ()
) -> dict[str, Any]:
    """The same for programs."""
    return {
        "title": title(old, new),
        "old": _stack(old),
        "new": _stack(new),
        "changes": [{"name": n, "old": then, "new": now} for n, then, now in changes(old, new)],
        "cases": [
            {
                "case_id": item.case.id,
                "causes": list(item.attribution.causes),
                "findings": to_plain(item.attribution.findings),
                "notes": list(item.attribution.notes),
                "verdict": outcome(item.verdict).value,
                "speedup": speedup_apart(_before(item), _after(item)),
                "cells": {
                    f"{side}-{origin}": {
                        **to_plain(figures(result)),
                        "speedup_interval": speedup_interval(result),
                    }
                    for (side, origin), result in item.cells.items()
                },
            }
            for item in upgraded
        ],
        "left_out": [{"case_id": case_id, "reason": why} for case_id, why in left_out],
    }


def _stack(stack: Stack) -> dict[str, Any]:
    return {"python": str(stack.python), "versions": dict(stack.versions)}


def _row(item: Upgraded) -> list[str]:
    before, after = _before(item), _after(item)
    x, y = figures(before), figures(after)
    speed = _arrow(quantity(x.speedup, "x"), quantity(y.speedup, "x"))
    apart = speedup_apart(before, after) if "->" in speed else ""
    return [
        item.case.id,
        ", ".join(item.attribution.causes),
        _arrow(quantity(x.sqnr_db, "dB"), quantity(y.sqnr_db, "dB")),
        _arrow(drop_text(x), drop_text(y)),
        f"{speed} ({apart})" if apart else speed,
        spaced(outcome(item.verdict)),
    ]


def _before(item: Upgraded) -> CaseResult | None:
    return item.cells.get((Side.OLD, Origin.STORED)) or item.cells.get((Side.OLD, Origin.MADE))


def _after(item: Upgraded) -> CaseResult | None:
    return item.cells.get((Side.NEW, Origin.MADE))


def _left(left_out: LeftOut) -> str:
    return f"{count(len(left_out), 'case')} left out of the update of the baselines"


def _arrow(before: str, after: str) -> str:
    return before if before == after else f"{before} -> {after}"


def _cell(text: str) -> str:
    return one_line(text).replace("|", "\\|").replace("<", "&lt;")
