"""``mode`` of bounds on an accuracy drop."""

from __future__ import annotations

import re

import pytest

from gate.core.tolerance import Mode
from gate.metrics.catalogue import CATALOGUE
from gate.spec import schema
from gate.spec.tolerances import TolerancesReader
from tests.unit.spec.test_tolerances import messages, tree


def modes(text: str) -> list[Mode]:
    reader = TolerancesReader()
    found = reader.read(tree(text), ("tolerances",))
    assert not reader.diagnostics
    return [t.mode for t in found]


def test_a_mode_is_read_and_auto_is_the_default() -> None:
    text = "device: {top1_drop: ['< 2 pp', {bound: '< 1 pp', mode: exact}], top5_drop: {bound: '< 1 pp', mode: certify}}"
    assert modes(text) == [Mode.AUTO, Mode.EXACT, Mode.CERTIFY]
    assert modes("device: {top1_drop: {bound: '< 1 pp', mode: auto}}") == [Mode.AUTO]


def test_one_bound_in_two_modes_is_no_repetition() -> None:
    text = "device: {top1_drop: [{bound: '< 1 pp', mode: exact}, {bound: '< 1 pp', mode: certify}]}"
    assert modes(text) == [Mode.EXACT, Mode.CERTIFY]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "device: {size: {bound: '<= 1 MB', mode: exact}}",
            "a.yaml:1:41: tolerances.device.size.mode: size has no mode, only differences such as",
        ),
        (
            "device: {top1_drop: {bound: '< 1 pp', mode: certfy}}",
            "expected one of exact, certify, auto, found the string 'certfy'",
        ),
        ("device: {top1_drop: {bound: '< 1 pp', mode: 3}}", "found the number 3"),
        (
            "device: {top1_drop: {bound: '<= baseline + 1 pp', mode: certify}}",
            "only an upper bound between 0 and 100 pp can be certified",
        ),
        ("device: {top1_drop: {bound: '== 0 pp', mode: certify}}", "can be certified"),
        ("device: {top1_drop: {bound: '< -1 pp', mode: certify}}", "can be certified"),
        (
            "device: {new_flips: '<= baseline + 1'}",
            "new_flips is counted from the baseline already",
        ),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    (said,) = messages(text)
    assert message in said


def test_the_published_schema_allows_a_mode_where_the_reader_does() -> None:
    definitions = schema.current()["$defs"]
    with_mode = {
        name
        for name, definition in definitions.items()
        if re.match("tolerance-", name)
        and any("mode" in branch.get("properties", {}) for branch in definition["anyOf"])
    }
    assert with_mode == {"tolerance-pp-mode", "tolerance-percent-mode"}
    tiers = schema.current()["properties"]["tolerances"]["properties"]
    for info in CATALOGUE:
        reference = tiers[info.tier]["properties"][info.name]["$ref"]
        assert reference.endswith("-mode") == info.has_interval, info.name
