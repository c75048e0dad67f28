"""What ``gate plan`` says about accuracy drops: the samples that a certificate needs, and those there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gate.core.case import Case
from gate.core.tolerance import Mode, Tolerance
from gate.judge.wording import names
from gate.metrics.certificate import certifies, counted, may_certify
from gate.metrics.sample_size import POWER, PRIOR_PSI, samples_needed, samples_without_flips


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """One bound on a drop, and how many samples would certify it."""

    metric: str
    bound: str
    needed: tuple[int | None, ...]
    """One number a share of flips of ``PRIOR_PSI``, for 90 % power if there is no true drop."""
    least: int
    """With no flip at all; fewer can never certify."""
    samples: int | None
    """Those there are; None where that is not known before a run."""
    mode: str
    """``exact`` or ``certify``; ``auto`` where the number of samples is not known."""

    @property
    def hopeless(self) -> bool:
        """Whether a certificate is demanded that this number of samples can never give."""
        demanded = self.mode == Mode.CERTIFY.value
        return demanded and self.samples is not None and self.samples < self.least


def certificates(case: Case, samples: int | None) -> list[Certificate]:
    """One entry a bound that can be certified."""
    return [_certificate(t, samples) for t in case.tolerances if may_certify(t) and counted(t)]


def certificate_lines(cases: Iterable[Case], samples: Callable[[Case], int | None]) -> list[str]:
    """The same for people: a distinct demand once, with the cases that make it."""
    found: dict[tuple[str, Certificate], list[str]] = {}
    for case in cases:
        for entry in certificates(case, samples(case)):
            found.setdefault((case.spec_id, entry), []).append(case.id.partition("/")[2])
    if not found:
        return []
    lines = [f"samples that certify a drop, with {100 * POWER:.0f} % power if there is none:"]
    lines += [
        f"  {spec} {entry.metric} {entry.bound}: {_needs(entry)}; {_has(entry)} ({names(pairs)})"
        for (spec, entry), pairs in found.items()
    ]
    return lines


def _certificate(tolerance: Tolerance, samples: int | None) -> Certificate:
    margin = tolerance.value / 100.0
    mode = tolerance.mode
    if mode is Mode.AUTO and samples is not None:
        mode = Mode.CERTIFY if certifies(tolerance, samples) else Mode.EXACT
    return Certificate(
        metric=tolerance.metric,
        bound=tolerance.text,
        needed=tuple(samples_needed(margin, psi) for psi in PRIOR_PSI),
        least=samples_without_flips(margin),
        samples=samples,
        mode=mode.value,
    )


def _needs(entry: Certificate) -> str:
    parts = [
        f"{'no number' if needed is None else needed} at {100 * psi:g} % of flips"
        for psi, needed in zip(PRIOR_PSI, entry.needed, strict=True)
    ]
    return f"{', '.join(parts)}, {entry.least} without any"


def _has(entry: Certificate) -> str:
    if entry.samples is None:
        return f"how many there are shows in the first run: {entry.mode}"
    there = f"there are {entry.samples}: {entry.mode}"
    return f"{there}, which cannot pass" if entry.hopeless else there
