"""The catalogue: what `gate metrics` prints and specs are checked against."""

from gate.core.status import Tier
from gate.metrics.catalogue import BY_NAME, CATALOGUE, Direction

UNITS = {"", "%", "pp", "dB", "ms", "B", "x", "fps", "nat", "bool"}


def test_names_are_unique_in_their_tier():
    assert len(BY_NAME) == len(CATALOGUE)


def test_every_line_is_complete():
    for info in CATALOGUE:
        assert info.unit in UNITS, info
        assert info.subject in {"output", "layer", "class", "case"}, info
        assert info.formula, info


def test_truth_values_are_better_when_true():
    assert all(info.direction is Direction.HIGHER for info in CATALOGUE if info.unit == "bool")


def test_every_tier_has_metrics():
    assert {info.tier for info in CATALOGUE} == set(Tier)
