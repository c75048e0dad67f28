from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core.status import Tier
from gate.core.tolerance import Anchor, Op
from gate.metrics.catalogue import BY_NAME, CATALOGUE, Direction, MetricInfo
from gate.spec.grammar import Bound, GrammarError, example, parse_bound, parse_quantity
from gate.spec.schema_tolerances import bound_pattern
from gate.spec.units import FACTORS, SECONDS

D, N, L = Tier.DEVICE, Tier.NUMERICAL, Tier.LAYERS


def bound(tier: Tier, metric: str, text: str) -> Bound:
    return parse_bound(text, BY_NAME[tier, metric])


@pytest.mark.parametrize(
    ("tier", "metric", "text", "op", "value"),
    [
        (N, "relative_mse", "< 0.5 %", Op.LT, 0.5),
        (N, "relative_mse", "<0.5%", Op.LT, 0.5),
        (N, "relative_mse", "  <=  5e-1  %  ", Op.LE, 0.5),
        (N, "sqnr", ">= -3 dB", Op.GE, -3.0),
        (N, "cosine", "> .99", Op.GT, 0.99),
        (N, "kl_divergence", "<= 0.01 nat", Op.LE, 0.01),
        (L, "float_layers", "== 0", Op.EQ, 0.0),
        (D, "top1", ">= 97 %", Op.GE, 97.0),
        (D, "top1_drop", "< 1 pp", Op.LT, 1.0),
        (D, "top1_drop", "<= -0.5 pp", Op.LE, -0.5),
        (D, "latency_p50", "< 45 ms", Op.LT, 45.0),
        (D, "latency_p50", "< 0.045 s", Op.LT, 45.0),
        (D, "latency_p50", "< 45000 us", Op.LT, 45.0),
        (D, "latency_p50", "< 45000 µs", Op.LT, 45.0),
        (D, "latency_p50", "== 45000000 ns", Op.EQ, 45.0),
        (D, "size", "<= 6 MB", Op.LE, 6e6),
        (D, "size", "<= 6 kB", Op.LE, 6e3),
        (D, "size", "<= 2 KiB", Op.LE, 2048.0),
        (D, "size", "<= 2 MiB", Op.LE, 2.0 * 1024**2),
        (D, "peak_memory", "<= 2 GiB", Op.LE, 2.0 * 1024**3),
        (D, "peak_memory", "<= 2 GB", Op.LE, 2e9),
        (D, "speedup", ">= 1.5 x", Op.GE, 1.5),
        (D, "speedup", ">= 1.5x", Op.GE, 1.5),
        (D, "throughput", "> 100 fps", Op.GT, 100.0),
    ],
)
def test_absolute(tier: Tier, metric: str, text: str, op: Op, value: float) -> None:
    found = bound(tier, metric, text)
    assert (found.op, found.anchor, found.relative) == (op, Anchor.ABSOLUTE, False)
    assert found.value == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(
    ("tier", "metric", "text", "expected"),
    [
        (N, "sqnr", ">= baseline - 1 dB", (Op.GE, -1.0, False)),
        (N, "sqnr", ">= baseline", (Op.GE, 0.0, False)),
        (N, "sqnr", "== baseline", (Op.EQ, 0.0, False)),
        (N, "sqnr", ">= baseline + -1 dB", (Op.GE, -1.0, False)),
        (N, "relative_mse", "<= baseline + 0.1 pp", (Op.LE, 0.1, False)),
        (N, "relative_mse", "<= baseline + 10 %", (Op.LE, 10.0, True)),
        (N, "max_abs_error", "<= baseline + 0.1", (Op.LE, 0.1, False)),
        (N, "max_abs_error", "<= baseline + 10 %", (Op.LE, 10.0, True)),
        (D, "latency_p50", "<= baseline + 50 %", (Op.LE, 50.0, True)),
        (D, "latency_p50", "< baseline+500us", (Op.LT, 0.5, False)),
        (D, "size", "<= baseline + 1 kB", (Op.LE, 1000.0, False)),
        (D, "speedup", ">= baseline - 0.2 x", (Op.GE, -0.2, False)),
        (D, "top1", ">= baseline - 0.5 pp", (Op.GE, -0.5, False)),
        (D, "top1", ">= baseline - 2 %", (Op.GE, -2.0, True)),
    ],
)
def test_baseline(tier: Tier, metric: str, text: str, expected: tuple[Op, float, bool]) -> None:
    found = bound(tier, metric, text)
    assert found.anchor is Anchor.BASELINE
    assert (found.op, found.value, found.relative) == expected


def test_reference() -> None:
    found = bound(D, "size", "<= 0.3 x reference")
    assert found == Bound(op=Op.LE, anchor=Anchor.REFERENCE, value=0.3)


@pytest.mark.parametrize("text", ["true", "equal"])
def test_met_or_not(text: str) -> None:
    assert bound(L, "shapes", text) == Bound(op=Op.EQ, anchor=Anchor.ABSOLUTE, value=1.0)


@pytest.mark.parametrize(
    ("tier", "metric", "text", "message"),
    [
        (D, "top1_drop", "< 1 %", "expected the unit pp"),
        (D, "top1", ">= 97 pp", "expected the unit %"),
        (D, "top1", ">= 97", "needs a unit: %"),
        (D, "latency_p50", "< 5 min", "one of the units ns, us, ms, s"),
        (D, "latency_p50", "< 5 MS", "did you mean 'ms'?"),
        (N, "cosine", ">= 1 x", "has no unit"),
        (D, "latency_p50", ">= 5 ms", "lower is better"),
        (D, "latency_p50", ">= 1 x reference", "lower is better"),
        (D, "latency_p50", ">= baseline", "lower is better"),
        (D, "speedup", "<= 2 x", "higher is better"),
        (D, "top1", ">= 101 %", "between 0 and 100"),
        (D, "top1", ">= -1 %", "between 0 and 100"),
        (D, "top1", ">= 0 %", "always met"),
        (D, "top1", "> 100 %", "nothing can meet"),
        (D, "top1_drop", "<= 100 pp", "always met"),
        (D, "size", "< 0 B", "nothing can meet"),
        (D, "size", "<= -1 B", "never below 0"),
        (N, "cosine", ">= 1.1", "between -1 and 1"),
        (N, "sqnr", ">= baseline + 1 dB", "does not meet"),
        (D, "latency_p50", "<= baseline - 5 %", "does not meet"),
        (D, "latency_p50", "< baseline", "does not meet"),
        (D, "latency_p50", "== baseline + 5 %", "does not meet"),
        (N, "sqnr", ">= baseline - 5 %", "has no meaning"),
        (D, "top1_drop", "<= baseline + 5 %", "has no meaning"),
        (D, "latency_p50", "<= baseline + 5", "needs a unit"),
        (D, "top1", ">= 1 x reference x", "cannot read"),
        (N, "sqnr", ">= 1 x reference", "no value for the reference"),
        (D, "size", "<= 0 x reference", "above zero"),
        (D, "size", "<= 1 xreference", "expected one of the units"),
        (D, "size", "6 MB", "starts with <"),
        (D, "size", "!= 6 MB", "starts with <"),
        (D, "size", "=< 6 MB", "starts with <"),
        (D, "size", "", "starts with <"),
        (D, "size", "<", "cannot read"),
        (D, "size", "<= 6 MB 7 MB", "cannot read"),
        (D, "size", "<= 1,5 MB", "cannot read"),
        (D, "size", "<= inf B", "cannot read"),
        (D, "size", "<= ٣ B", "cannot read"),
        (D, "size", "<= 1e999 B", "too large"),
        (D, "size", "true", "met or not"),
        (L, "shapes", "same", "expected true or equal"),
        (L, "shapes", "== 1", "expected true or equal"),
    ],
)
def test_nonsense_is_refused(tier: Tier, metric: str, text: str, message: str) -> None:
    with pytest.raises(GrammarError, match=re.escape(message)):
        bound(tier, metric, text)


@pytest.mark.parametrize("info", CATALOGUE, ids=lambda info: f"{info.tier}.{info.name}")
def test_the_example_in_messages_is_well_formed(info: MetricInfo) -> None:
    assert parse_bound(example(info).strip("'"), info)


_NUMBERS = st.floats(0.001, 99).map(lambda value: f"{value:g}")


@given(
    st.sampled_from([info for info in CATALOGUE if info.unit != "bool"]),
    st.sampled_from([*(op.value for op in Op), "=", "", "=>"]),
    st.sampled_from(
        ["{n} {u}", "{n}{u}", "baseline + {n} {u}", "baseline", "{n} x reference", "x"]
    ),
    _NUMBERS,
    st.sampled_from(sorted({unit for table in FACTORS.values() for unit in table} | {"", "kb"})),
)
def test_the_published_pattern_takes_all_that_the_grammar_takes(
    info: MetricInfo, op: str, form: str, number: str, unit: str
) -> None:
    text = f"{op} {form.format(n=number, u=unit)}"
    try:
        found = parse_bound(text, info)
    except GrammarError:
        return
    assert re.search(bound_pattern(info.unit), text)
    lower = info.direction is Direction.LOWER
    assert found.op in ((Op.LT, Op.LE, Op.EQ) if lower else (Op.GT, Op.GE, Op.EQ))


@given(st.text(max_size=30), st.sampled_from(CATALOGUE))
def test_any_text_is_parsed_or_refused(text: str, info: MetricInfo) -> None:
    with contextlib.suppress(GrammarError):
        assert abs(parse_bound(text, info).value) < float("inf")


def test_quantities() -> None:
    assert parse_quantity("900 s", SECONDS, "timeout") == 900
    assert parse_quantity("1.5min", SECONDS, "timeout") == 90
    assert parse_quantity("8 GiB", FACTORS["B"], "memory") == 8 * 1024**3
    for text in ("0 s", "-1 s", "900", "s", "1e999 s", "5 ns"):
        with pytest.raises(GrammarError):
            parse_quantity(text, SECONDS, "timeout")
