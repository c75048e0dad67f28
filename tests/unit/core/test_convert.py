"""Records survive the way through JSON, and nothing else is taken for one."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace

import pytest

from gate.core.canonical import canonical_json
from gate.core.convert import (
    MalformedRecordError,
    _converter,
    _taken_over,
    from_json,
    from_plain,
    items_of_json,
    pack,
    part_of_json,
    read_json,
    to_json,
    to_plain,
    unpack,
)
from gate.core.layer import QParams
from gate.core.observation import Observation
from tests.unit.report.records import observation

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


PLAIN = to_plain(replace(PARAMS, scales=(0.1, 0.2, 0.3, 0.4)))


def test_a_record_that_is_taken_over_whole_is_what_the_strict_converter_builds() -> None:
    seen = to_plain(observation("spec/q@ort-cpu"))
    document = json.loads(canonical_json(seen))
    fast = _taken_over(Observation, document)
    assert fast is not None
    assert repr(fast) == repr(_converter().structure(document, Observation))
    assert canonical_json(to_plain(fast)) == canonical_json(document)


@pytest.mark.parametrize(
    "changed",
    [
        {"colour": "red"},
        {"scales": [0.1, "nan", 0.3, 0.4]},
        {"scales": [1, 0.2, 0.3, 0.4]},
        {"zero_points": [0, 0, 0, 0.0]},
        {"zero_points": [0, 0, 0, False]},
        {"axis": "0"},
        {"dtype": 8},
    ],
    ids=str,
)
def test_anything_else_is_left_to_the_strict_converter(changed: dict[str, object]) -> None:
    assert _taken_over(QParams, PLAIN) == from_plain(QParams, PLAIN)
    assert _taken_over(QParams, {**PLAIN, **changed}) is None


def test_a_record_of_an_older_version_still_gets_its_defaults() -> None:
    older = {key: value for key, value in PLAIN.items() if key != "output_axis"}
    assert _taken_over(QParams, older) is None
    assert from_plain(QParams, older) == from_plain(QParams, PLAIN)


@pytest.mark.parametrize("value", [7.0, 1e-5, 1e16, 5e-324, -0.0, 2**53 + 1, 10**30, 0.1 + 0.2])
def test_json_is_read_as_the_standard_library_reads_it(value: float) -> None:
    raw = canonical_json({"a": [value, None, "\u00e9\U0001f600"], "b": {"": True}}).encode()
    assert repr(read_json(raw)) == repr(json.loads(raw))


@pytest.mark.parametrize(
    "raw", [b'{"a": 1, "a": 2}', b"[NaN, -Infinity, 1e400]", b'"\\ud800"', b"\xef\xbb\xbf1"]
)
def test_json_beyond_the_standard_is_read_alike_too(raw: bytes) -> None:
    assert repr(read_json(raw)) == repr(json.loads(raw))


@pytest.mark.parametrize("raw", [b"", b"{", b"1 2", b'"\x01"', b'"\xff"', b"[" * 100_000])
def test_broken_json_raises_what_callers_expect(raw: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        read_json(raw)


SEEN = observation("spec/q@ort-cpu")


@pytest.mark.parametrize(
    "record", [PARAMS, SEEN, replace(SEEN, case_id="caf\u00e9 \U0001f600\n\x7f")]
)
def test_a_record_survives_the_way_through_a_file(record: object) -> None:
    raw = to_json(record)
    assert json.loads(raw) == to_plain(record)
    back = from_json(type(record), raw)
    assert to_json(back) == raw
    assert back == record or record is PARAMS  # NaN is not itself


def test_other_ways_to_write_a_record_are_read_too() -> None:
    plain = to_plain(SEEN)
    backwards = dict(reversed(plain.items()))
    for raw in (json.dumps(plain, indent=1), json.dumps(backwards), canonical_json(plain)):
        assert from_json(Observation, raw.encode()) == SEEN
    twice = to_json(SEEN).replace(b'{"artifacts"', b'{"case_id":"x","artifacts"', 1)
    assert from_json(Observation, twice) == from_plain(Observation, json.loads(twice))


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "no complete JSON"),
        (to_json(SEEN)[:-1], "no complete JSON"),
        (b"\xff", "no complete JSON"),
        (b"[" * 100_000, "nested too deeply|no complete JSON"),
        (b"{}", "axis|required"),
        (to_json({**PLAIN, "colour": "red"}), "colour"),
        (to_json({**PLAIN, "axis": "0"}), "axis"),
    ],
)
def test_what_is_no_record_is_refused(raw: bytes, said: str) -> None:
    with pytest.raises(MalformedRecordError, match=said):
        from_json(QParams, raw)


def test_a_part_of_a_document_is_read_for_itself() -> None:
    @dataclass(frozen=True)
    class Part:
        dtype: str
        axis: int

    assert part_of_json(Part, to_json(PARAMS)) == Part(dtype="int8", axis=0)
    for wrong in (b"{", to_json({**PLAIN, "axis": "0"}), to_json({"axis": 0}), b"\xff"):
        with pytest.raises(MalformedRecordError):
            part_of_json(Part, wrong)


def test_items_are_as_they_would_be_written_alone() -> None:
    document = {"cases": [{"b": 1e-5, "a": "\u00e9"}, to_plain(PARAMS)], "other": 1}
    expected = [to_json(item) for item in document["cases"]]
    assert items_of_json(json.dumps(document, indent=2).encode(), "cases") == expected
    assert items_of_json(to_json(document), "cases") == expected


def test_a_packed_record_comes_out_as_it_went_in() -> None:
    assert repr(unpack(QParams, pack(PARAMS))) == repr(PARAMS)
    assert unpack(Observation, pack(SEEN)) == SEEN
