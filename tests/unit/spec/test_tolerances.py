from __future__ import annotations

import pytest

from gate.core.status import Tier
from gate.core.tolerance import Anchor, Op
from gate.spec.nodes import Node
from gate.spec.reader import read_bytes
from gate.spec.tolerances import TolerancesReader


def tree(text: str) -> Node:
    node, diagnostics = read_bytes(text.encode(), "a.yaml")
    assert node is not None
    assert not diagnostics
    return node


def messages(text: str) -> list[str]:
    reader = TolerancesReader()
    reader.read(tree(text), ("tolerances",))
    return [str(d) for d in reader.diagnostics]


def test_the_forms_of_a_demand() -> None:
    reader = TolerancesReader()
    found = reader.read(
        tree(
            "device: {size: '<= 6 MB'}\n"
            "layers:\n"
            "  sqnr: ['>= 20 dB', {bound: '>= baseline - 1 dB', subjects: 'conv*'}]\n"
            "  shapes: equal\n"
            "numerical: {finite: true}\n"
        ),
        ("tolerances",),
    )
    assert not reader.diagnostics
    assert [(t.tier, t.metric, t.op, t.anchor, t.value, t.subjects, t.text) for t in found] == [
        (Tier.NUMERICAL, "finite", Op.EQ, Anchor.ABSOLUTE, 1.0, None, "true"),
        (Tier.LAYERS, "sqnr", Op.GE, Anchor.ABSOLUTE, 20.0, None, ">= 20 dB"),
        (Tier.LAYERS, "sqnr", Op.GE, Anchor.BASELINE, -1.0, "conv*", ">= baseline - 1 dB"),
        (Tier.LAYERS, "shapes", Op.EQ, Anchor.ABSOLUTE, 1.0, None, "equal"),
        (Tier.DEVICE, "size", Op.LE, Anchor.ABSOLUTE, 6e6, None, "<= 6 MB"),
    ]
    assert str(found[2].where) == "a.yaml:3:30"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layers: {sqnr: {bound: [], subjects: x}}", "a.yaml:1:24: tolerances.layers.sqnr.bound: "),
        ("layers: {sqnr: {subjects: ''}}", "the key 'bound' is missing"),
        (
            "layers: {sqnr: {bound: '>= 1 dB', subjects: ''}}",
            "expected a glob, found the string ''",
        ),
        ("layers: {sqnr: {bound: '>= 1 dB', subjects: 3}}", "expected a glob, found the number 3"),
        ("layers: {sqnr: [['>= 1 dB']]}", "expected a tolerance, found a list"),
        ("layers: {sqnr: ~}", "expected a tolerance, found null"),
        ("layers: {sqnr: true}", "'true' is for metrics that are met or not"),
        ("numerical: {finite: false}", "leave the key out where it is not demanded"),
        ("numerical: {finite: 1}", "expected true or equal, found the number 1"),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    found = messages(text)
    assert any(message in line for line in found), found


def test_what_the_schema_says_is_not_said_twice() -> None:
    assert messages("nonsense: {a: 1}\nlayers: {nonsense: 1}\ndevice: 3\n") == []
    assert messages("[1]") == []
