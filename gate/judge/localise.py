"""Which layer is it? The first that is off by itself, else the first whose output is off.

A layer is off by itself where a rule about the layer alone fails (how it is built, a demand on its
isolated errors), or where its isolated errors leave a default band. That band only names a layer in
a case that fails already; it fails nothing. It is the accepted baseline's own value with
``SQNR_BAND_DB``, or, where the baseline has none, what the other layers of the same candidate are
like: the median less ``SPREADS`` robust standard deviations.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gate.core.probes import ProbeObserved
from gate.core.status import Status, Tier
from gate.core.verdict import Check
from gate.judge.comparison import Comparison
from gate.judge.measure import Measured
from gate.judge.wording import shown
from gate.metrics.elementwise import sqnr_db

SQNR_BAND_DB = 1.0
"""Below the baseline's isolated value; healthy runs of the same candidate differ by far less."""
CHANNEL_BAND_DB = 3.0
"""As above for the worst channel, whose error is one of few elements."""
PERFECT_DB = 60.0
"""From here on the error is that of floating-point rounding, which other kernels change at will."""
NEGLIGIBLE_PERCENT = 0.1
"""A worst-channel error below this is nobody's fault."""
SPREADS = 4.0
"""Robust standard deviations (1.4826 MAD) from the median that a healthy layer keeps within."""
LEAST_SPREAD_DB = 2.0
FEWEST_LAYERS = 5
"""With fewer layers there is no telling what is usual."""

_ISOLATED = ("isolated_sqnr", "isolated_worst_channel_nmse")
_OWN_RULES = frozenset({"qparams", "shapes", "layer_contract", *_ISOLATED})


@dataclass(frozen=True, slots=True, kw_only=True)
class BadLayer:
    """The layer to look at first."""

    name: str
    why: str
    """What is off, and how the layer stands to those before it."""


def first_bad_layer(
    checks: Sequence[Check],
    measured: Measured,
    comparison: Comparison,
    probes: Sequence[ProbeObserved] = (),
) -> BadLayer | None:
    """Name the layer where a failing case goes wrong; None where nothing failed, or no layer is off.

    Args:
        checks: all checks of the case.
        measured: its measurements.
        comparison: its baseline, if there is one.
        probes: what became of its hostile probes.
    """
    failed = [check for check in checks if check.status is Status.FAIL]
    if not failed:
        return None
    inside = [check for check in failed if check.tier is Tier.LAYERS]
    own: dict[str, str] = {}
    for check in inside:
        if check.rule in _OWN_RULES:
            own.setdefault(check.subject, f"{_rule(check.rule)}: {check.message}")
    for name, why in _out_of_band(measured, comparison):
        own.setdefault(name, why)
    output = {
        check.subject: f"its output's {check.rule}: {check.message}" for check in reversed(inside)
    }
    first = next((name for name in measured.layer_order if name in own), None)
    if first is not None:
        before = measured.layer_order[: measured.layer_order.index(first)]
        good = not any(name in output for name in before)
        so_far = "every layer before it is good" if good else "whatever comes before it"
        return BadLayer(name=first, why=f"{own[first]}; {so_far}")
    first = next((name for name in measured.layer_order if name in output), None)
    if first is not None:
        return BadLayer(name=first, why=output[first])
    return _otherwise_alone(failed, measured, probes)


def _otherwise_alone(
    failed: Sequence[Check], measured: Measured, probes: Sequence[ProbeObserved]
) -> BadLayer | None:
    """The first layer that answers otherwise alone than in a batch, by more than the failed probe
    allows its outputs: layers are compared in batches, where such a fault does not show."""
    alone = next((probe.alone for probe in probes if probe.alone), {})
    bounds = [
        check.bound
        for check in failed
        if check.rule == "probe.batch"
        and check.bound is not None
        and check.tolerance is not None
        and check.tolerance.metric == "sqnr"
    ]
    if not bounds:
        return None
    for name in measured.layer_order:
        value = sqnr_db(alone[name]) if name in alone else None
        if value is not None and value < max(bounds):
            told = shown(value, "dB", digits=3)
            why = f"answers otherwise for one sample alone than in a batch: {told}"
            return BadLayer(name=name, why=f"{why}; every layer before it is good")
    return None


def _rule(rule: str) -> str:
    return "isolated" if rule == "isolated_sqnr" else rule.replace("_", " ")


def _out_of_band(measured: Measured, comparison: Comparison) -> Iterator[tuple[str, str]]:
    now = [_values(measured, metric) for metric in _ISOLATED]
    then = [
        {
            name: value
            for name in now[0]
            if (value := comparison.value(Tier.LAYERS, metric, name)) is not None
        }
        for metric in _ISOLATED
    ]
    yield from bad_by_itself(now[0], now[1], then[0], then[1])


def bad_by_itself(
    sqnr: Mapping[str, float],
    channel: Mapping[str, float],
    accepted_sqnr: Mapping[str, float],
    accepted_channel: Mapping[str, float],
) -> Iterator[tuple[str, str]]:
    """Layers whose isolated errors leave their default band, with what is off.

    Args:
        sqnr: layer -> isolated SQNR in dB.
        channel: layer -> isolated worst-channel NMSE in per cent.
        accepted_sqnr: the baseline's, as above; empty where it has none.
        accepted_channel: as above.
    """
    if accepted_sqnr:
        yield from _below_baseline(sqnr, accepted_sqnr)
        yield from _channel_above_baseline(channel, accepted_channel)
    else:
        yield from _unlike_the_others(sqnr, channel)


def _below_baseline(
    now: Mapping[str, float], then: Mapping[str, float]
) -> Iterator[tuple[str, str]]:
    for name, value in now.items():
        if name in then and min(value, PERFECT_DB) < min(then[name], PERFECT_DB) - SQNR_BAND_DB:
            now_db, then_db = (shown(v, "dB", digits=3) for v in (value, then[name]))
            yield name, f"isolated: {now_db}, {then_db} when the baseline was accepted"


def _channel_above_baseline(
    now: Mapping[str, float], then: Mapping[str, float]
) -> Iterator[tuple[str, str]]:
    for name, value in now.items():
        before = max(then.get(name, math.inf), NEGLIGIBLE_PERCENT)
        if value > before * 10.0 ** (CHANNEL_BAND_DB / 10.0):
            off, was = (shown(v, "%", digits=3) for v in (value, then[name]))
            yield name, f"isolated: one channel is {off} off, {was} when the baseline was accepted"


def _unlike_the_others(
    sqnr: Mapping[str, float], channel: Mapping[str, float]
) -> Iterator[tuple[str, str]]:
    """The layer that is furthest from what is usual among those with rounding errors at all."""
    scores: dict[str, tuple[float, str]] = {}
    for values, sign, words in (
        ({n: v for n, v in sqnr.items() if v < PERFECT_DB}, 1.0, "isolated: {} dB"),
        (_decibels(channel), -1.0, "isolated: worst channel at {} dB"),
    ):
        if len(values) < FEWEST_LAYERS:
            continue
        middle = statistics.median(values.values())
        mad = statistics.median(abs(value - middle) for value in values.values())
        spread = max(1.4826 * mad, LEAST_SPREAD_DB)
        for name, value in values.items():
            score = sign * (middle - value) / spread
            if score > SPREADS and score > scores.get(name, (0.0, ""))[0]:
                told = words.format(f"{value:.3g}")
                scores[name] = (score, f"{told}, where the other layers are at {middle:.3g} dB")
    if scores:
        name = max(scores, key=lambda layer: scores[layer][0])
        yield name, scores[name][1]


def _decibels(channel: Mapping[str, float]) -> dict[str, float]:
    return {n: 10.0 * math.log10(max(v, 1e-9) / 100.0) for n, v in channel.items() if v > 1e-4}


def _values(measured: Measured, metric: str) -> dict[str, float]:
    return {m.subject: m.value for m in measured.of(Tier.LAYERS, metric) if m.value is not None}
