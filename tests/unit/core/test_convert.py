"""Records survive the way through JSON, and nothing else is taken for one."""

from __future__ import annotations

import json
import math

import pytest

from gate.core.canonical import canonical_json
from gate.core.convert import MalformedRecordError, from_plain, to_plain
from gate.core.layer import QParams

PARAMS = QParams(
    dtype="int8",
    scheme="per-channel-symmetric",
    axis=0,
    scales=(math.nan, math.inf, -math.inf, 0.1),
    zero_points=(0, 0, 0, 0),
)


def test_values_that_json_has_no_word_for_survive() -> None:
    back = from_plain(QParams, json.loads(canonical_json(to_plain(PARAMS))))
    assert math.isnan(back.scales[0])
    assert back.scales[1:] == PARAMS.scales[1:]


@pytest.mark.parametrize("value", ["3", True, None, "NaN", [1.0]])
def test_what_is_no_number_is_refused(value: object) -> None:
    plain = {**to_plain(PARAMS), "scales": [value]}
    with pytest.raises(MalformedRecordError, match="scales"):
        from_plain(QParams, plain)


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(MalformedRecordError, match="colour"):
        from_plain(QParams, {**to_plain(PARAMS), "colour": "red"})
