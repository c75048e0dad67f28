from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.baseline.errors import BaselineError
from gate.baseline.text import parse, render
from gate.core.canonical import digest
from gate.core.status import Tier
from tests.unit.judge import builders as build

TEXT = render(build.baseline())


def sealed(**changes) -> str:
    content = json.loads(TEXT)
    del content["digest"]
    content.update(changes)
    return json.dumps({**content, "digest": digest(content)})


def test_what_is_written_is_read_back_to_the_last_bit() -> None:
    assert parse(TEXT) == build.baseline()
    assert render(parse(TEXT)) == TEXT


def test_a_file_from_before_scoring_was_told_is_read() -> None:
    content = json.loads(TEXT)
    del content["digest"], content["scoring"]
    older = parse(json.dumps({**content, "digest": digest(content)}))
    assert older == replace(build.baseline(), scoring={})


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_every_finite_number_survives(numbers: list[float]) -> None:
    baseline = build.baseline()
    values = tuple(
        replace(baseline.values[0], value=x, subject=str(i)) for i, x in enumerate(numbers)
    )
    again = parse(render(replace(baseline, values=values)))
    assert [v.value for v in again.values] == numbers


@given(st.text(max_size=30))
@settings(max_examples=60, deadline=None)
def test_every_reason_survives(reason: str) -> None:
    baseline = build.baseline(provenance=replace(build.PROVENANCE, reason=reason))
    assert parse(render(baseline)) == baseline


def test_the_text_is_reviewable_one_fact_a_line_one_layer_a_line() -> None:
    lines = TEXT.splitlines()
    assert TEXT.endswith("}\n")
    for name in build.LAYER_NAMES:
        assert sum(f'"name":"{name}"' in line for line in lines) == 1
    assert sum('"metric":"top1_drop"' in line for line in lines) == 1
    assert '    "reason": "first"' in lines or '    "reason": "first",' in lines
    keys = [line.split('"')[1] for line in lines if line.startswith('  "')]
    assert keys == sorted(keys)
    other = render(build.baseline(data_digest="0" * 64)).splitlines()
    assert sum(a != b for a, b in zip(lines, other, strict=True)) == 2  # the fact and the seal


def test_layout_is_free_and_content_is_sealed() -> None:
    assert parse(json.dumps(json.loads(TEXT))) == build.baseline()
    edited = TEXT.replace('"value":2.5', '"value":2.4')
    assert edited != TEXT
    with pytest.raises(BaselineError, match=r"edited or damaged; run `gate baseline update`"):
        parse(edited)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        (TEXT[: len(TEXT) // 2], "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "not a JSON object"),
        ("{}", "digest does not fit"),
        (TEXT.replace('"threads": 1', '"threads": NaN'), "NaN is no JSON number"),
        (TEXT.replace('"threads": 1', '"threads": 1e999'), "what no baseline can"),
        (TEXT.replace('"schema": 1', '"schema": 1, "schema": 1'), "given twice"),
        (sealed(schema=2), "newer gate"),
        (sealed(schema="1"), "malformed"),
        (sealed(values=3), "malformed"),
        (sealed(surprise=1), "malformed"),
    ],
)
def test_anything_else_is_refused_with_a_way_out(text, message) -> None:
    with pytest.raises(BaselineError, match=message) as caught:
        parse(text)
    assert "gate baseline update" in str(caught.value)


@given(st.integers(0, len(TEXT) - 1), st.characters(codec="utf-8"))
@settings(max_examples=300, deadline=None)
def test_no_single_change_of_a_character_goes_unnoticed(position: int, character: str) -> None:
    damaged = TEXT[:position] + character + TEXT[position + 1 :]
    with suppress(BaselineError):
        assert parse(damaged) == build.baseline()  # white space, or another writing of a number


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_number_that_json_cannot_hold_is_refused(bad) -> None:
    value = replace(build.baseline().values[0], value=bad, tier=Tier.DEVICE)
    with pytest.raises(BaselineError, match="finite numbers only"):
        render(build.baseline(values=(value,)))
