import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core.status import Tier
from gate.core.tolerance import Anchor
from gate.report.format import apart, demand, quantity, seconds
from tests.unit.report.records import tolerance


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "dB", "-"),
        (1.0, "bool", "true"),
        (0.0, "bool", "false"),
        (5_980_000, "B", "5.98 MB"),
        (1_000, "B", "1 kB"),
        (999, "B", "999 B"),
        (2_500_000_000, "B", "2.5 GB"),
        (0.5321, "ms", "532 us"),
        (12.345, "ms", "12.3 ms"),
        (2_400.0, "ms", "2.4 s"),
        (0.0, "ms", "0 us"),
        (1234.5, "fps", "1234 fps"),
        (0.99987, "", "1"),
        (1.2e-9, "", "1.2e-9"),
        (1.5, "x", "1.5 x"),
        (-0.25, "pp", "-0.25 pp"),
        (math.inf, "dB", "inf dB"),
        (math.nan, "ms", "nan ms"),
    ],
)
def test_units_scale_and_round(value, unit, text):
    assert quantity(value, unit) == text


@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["pp", "dB", "%", "B", "ms", "x", ""]),
)
def test_a_measurement_never_reads_like_a_bound_that_it_misses(value, bound, unit):
    shown, against = apart(value, bound, unit)
    # Scaling to a shown unit may merge neighbouring doubles; nothing coarser may.
    assert (shown != against) or math.isclose(value, bound, rel_tol=1e-14, abs_tol=5e-323)


def test_close_values_get_the_digits_they_need():
    assert apart(1.0004, 1.0, "pp") == ("1.0004 pp", "1 pp")
    assert apart(0.25, 1.0, "pp") == ("0.25 pp", "1 pp")


def test_a_demand_shows_the_number_behind_its_anchor():
    baseline = tolerance(
        Tier.DEVICE, "sqnr", ">= baseline - 1 dB", anchor=Anchor.BASELINE, value=-1.0
    )
    assert demand(baseline, "29.5 dB") == ">= baseline - 1 dB (< 29.5 dB)"
    assert demand(baseline, "-") == ">= baseline - 1 dB (no value)"
    assert demand(tolerance(Tier.DEVICE, "top1_drop", "< 1 pp"), "1 pp") == "< 1 pp"
    assert demand(None, "-") == ""


@pytest.mark.parametrize(
    ("value", "text"), [(0.84, "0.8 s"), (41.2, "41 s"), (185.0, "3 min 05 s"), (59.7, "60 s")]
)
def test_wall_times(value, text):
    assert seconds(value) == text
