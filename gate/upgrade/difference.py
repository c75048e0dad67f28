"""How far two observations of one case are apart: of the reference, and of the candidate. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from gate.core.observation import Observation
from gate.judge.wording import count
from gate.metrics.elementwise import sqnr_db

LAST_DIGITS = 1e-4
"""Relative difference of a root mean square that another order of summation explains."""
LAST_DIGITS_DB = 0.05
"""The same for the candidate's SQNR, in dB."""


class Degree(StrEnum):
    """How much differs."""

    NONE = "none"
    """Every recorded sum and every answer is the same, bit for bit."""
    LAST_DIGITS = "last digits"
    """Rounding: no answer changed, and what changed is below ``LAST_DIGITS``."""
    CHANGED = "changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A degree and what it rests on, for people."""

    degree: Degree
    detail: str = ""


def reference_difference(before: Observation, after: Observation) -> Difference:
    """Compare the float reference of two runs, by the digest of its outputs and, where that
    differs, by their root mean square and the number of right answers."""
    x, y = before.pin, after.pin
    if x is None or y is None:
        return Difference(degree=Degree.CHANGED, detail="the reference was not observed")
    if x.output_sha256 == y.output_sha256:
        return Difference(degree=Degree.NONE)
    found: list[str] = []
    if set(x.output_rms) != set(y.output_rms):
        found.append(f"outputs {_names(x.output_rms)} became {_names(y.output_rms)}")
    if x.top1_correct != y.top1_correct:
        found.append(f"{x.top1_correct} right answers became {y.top1_correct}")
    for name in sorted(set(x.output_rms) & set(y.output_rms)):
        apart = _relative(x.output_rms[name], y.output_rms[name])
        if not apart <= LAST_DIGITS:  # NaN is apart
            found.append(f"the root mean square of {name} moved by {100 * apart:.3g} %")
    if found:
        return Difference(degree=Degree.CHANGED, detail="; ".join(found))
    return Difference(degree=Degree.LAST_DIGITS, detail="the reference differs in the last digits")


def candidate_difference(before: Observation, after: Observation) -> Difference:
    """Compare the candidate of two runs: sums over its outputs, its answers, how it is built."""
    found = [*_outputs(before, after), *_answers(before, after), *_structure(before, after)]
    if found:
        return Difference(degree=Degree.CHANGED, detail="; ".join(found))
    if _sums(before) == _sums(after):
        return Difference(degree=Degree.NONE)
    return Difference(degree=Degree.LAST_DIGITS, detail="outputs differ in the last digits")


def _outputs(before: Observation, after: Observation) -> Iterator[str]:
    if set(before.outputs) != set(after.outputs):
        yield f"outputs {_names(before.outputs)} became {_names(after.outputs)}"
    for name in sorted(set(before.outputs) & set(after.outputs)):
        x, y = before.outputs[name], after.outputs[name]
        if (x.candidate.shape, x.candidate.dtype) != (y.candidate.shape, y.candidate.dtype):
            yield (
                f"{name}: {x.candidate.dtype} {list(x.candidate.shape)} became"
                f" {y.candidate.dtype} {list(y.candidate.shape)}"
            )
            continue
        rms = _relative(math.sqrt(abs(x.errors.sum_y2)), math.sqrt(abs(y.errors.sum_y2)))
        was, now = sqnr_db(x.errors), sqnr_db(y.errors)
        moved = was is not None and now is not None and not _close_db(was, now)
        if moved:
            yield f"{name}: SQNR {was:.4g} dB became {now:.4g} dB"
        elif (was is None) != (now is None) or not rms <= LAST_DIGITS:
            yield f"{name}: the root mean square moved by {100 * rms:.3g} %"


def _answers(before: Observation, after: Observation) -> Iterator[str]:
    if before.task is None or after.task is None:
        return
    x, y = before.task.candidate_top1, after.task.candidate_top1
    changed = sum(a != b for a, b in zip(x, y, strict=False)) + abs(len(x) - len(y))
    if changed:
        yield f"{changed} of {len(x)} samples turned between right and wrong"


def _structure(before: Observation, after: Observation) -> Iterator[str]:
    if before.layers is None or after.layers is None:
        return
    x = {row.name: (row.op, row.quantized) for row in before.layers.candidate}
    y = {row.name: (row.op, row.quantized) for row in after.layers.candidate}
    for word, names in (
        ("gone", [name for name in x if name not in y]),
        ("new", [name for name in y if name not in x]),
        ("of another kind", [name for name in x if name in y and x[name] != y[name]]),
    ):
        if names:
            yield f"{count(len(names), 'layer')} {word}: {_names(names)}"


def _sums(observation: Observation) -> list[object]:
    sums: list[object] = []
    for name, output in sorted(observation.outputs.items()):
        errors = output.errors
        sums += (name, errors.sum_y, errors.sum_y2, errors.sum_err2, errors.max_abs_error)
    return sums


def _close_db(was: float, now: float) -> bool:
    return was == now or abs(was - now) <= LAST_DIGITS_DB


def _relative(x: float, y: float) -> float:
    if x == y:
        return 0.0
    largest = max(abs(x), abs(y))
    return abs(x - y) / largest if largest > 0 else math.nan


def _names(names: Mapping[str, object] | list[str], limit: int = 4) -> str:
    listed = list(names)
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more
