"""Baselines and their differences as text for a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from gate.baseline.diff import BaselineDiff, ValueChange
from gate.core.baseline import Baseline
from gate.judge.wording import count, shown

ROWS_SHOWN = 25
_DIGEST_SHOWN = 12
_DIGEST = re.compile(r"\b[0-9a-f]{40,}")


def present_diff(changes: BaselineDiff, *, full: bool = False) -> str:
    """What an update would change: metrics old -> new, layers, and other facts.

    Changes for the worse come first, then those for the better, then noise; ``full`` shows more
    than ``ROWS_SHOWN`` of them.
    """
    lines = [f"{changes.case_id}  [{changes.environment_class}]"]
    if changes.first:
        lines.append(f"  first baseline: {count(len(changes.values), 'value')}")
        return "\n".join(lines)
    if changes.empty:
        lines.append("  no change")
        return "\n".join(lines)
    ordered = sorted(changes.values, key=_weight)
    kept = ordered if full else ordered[:ROWS_SHOWN]
    if kept:
        lines.append(_table(("metric", "subject", "old", "new", ""), map(_change_row, kept)))
    if len(kept) < len(ordered):
        lines.append(f"  ... and {count(len(ordered) - len(kept), 'more value')} (--full)")
    lines += [f"  layer {name}: {change}" for name, change in changes.layers]
    lines += [f"  {fact.what}: {_short(fact.old)} -> {_short(fact.new)}" for fact in changes.facts]
    return "\n".join(lines)


def present_baseline(baseline: Baseline, path: str) -> str:
    """Everything in a baseline: who accepted it and why, values, layers."""
    who, where = baseline.provenance, baseline.environment
    versions = ", ".join(f"{name} {version}" for name, version in sorted(where.versions.items()))
    head = [
        path,
        f"  case         {baseline.case_id}",
        (
            f"  accepted     {who.date} by {who.author}, commit {_short(who.commit)}, "
            f"gate {who.gate_version}"
        ),
        f"  reason       {who.reason}",
        (
            f"  environment  {baseline.environment_class}; {where.cpu_model}; "
            f"{where.backend}/{where.engine}, {count(where.threads, 'thread')}"
        ),
        f"  versions     {versions or 'none recorded'}",
    ]
    values = [(f"{v.tier}.{v.metric}", v.subject, shown(v.value, v.unit)) for v in baseline.values]
    layers = [
        (
            layer.name,
            layer.op,
            (layer.weight_dtype or "integer") if layer.quantized else "float",
            ", ".join(f"{t.dtype}{list(t.shape)}" for t in layer.outputs),
        )
        for layer in baseline.layers
    ]
    parts = ["\n".join(head), _table(("metric", "subject", "value"), values)]
    if layers:
        parts.append(_table(("layer", "op", "type", "outputs"), layers))
    return "\n\n".join(parts)


def _change_row(change: ValueChange) -> tuple[str, ...]:
    old, new = (
        shown(value, change.unit) if value is not None else "-"
        for value in (change.old, change.new)
    )
    word = {True: "better", False: "worse", None: ""}[change.better]
    return (
        f"{change.tier}.{change.metric}",
        change.subject,
        old,
        new,
        f"{word} (noisy)" if change.noisy and word else word,
    )


def _weight(change: ValueChange) -> tuple[bool, int]:
    return change.noisy, {False: 0, None: 1, True: 2}[change.better]


def _short(text: str) -> str:
    """Digests are cut for people (``+dirty`` stays); the files and ``--json`` have them whole."""
    return _DIGEST.sub(lambda found: found[0][:_DIGEST_SHOWN], text)


def _table(
    headers: Sequence[str], rows: Iterator[tuple[str, ...]] | Sequence[tuple[str, ...]]
) -> str:
    from tabulate import tabulate

    text = tabulate(list(rows), headers=headers, tablefmt="plain", disable_numparse=True)
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())
