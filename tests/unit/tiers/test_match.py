import pytest

from gate.core.layer import LayerRow, TensorInfo
from gate.tiers.match import match_layers


def row(name, op="Conv", *, covers=(), params=10, shape=(1, 4), computes=None):
    computing = op in {"Conv", "QLinearConv", "Linear", "QuantizedLinear"}
    return LayerRow(
        name=name,
        op=op,
        computes=computing if computes is None else computes,
        quantized=False,
        inputs=(TensorInfo(shape=shape, dtype="float32"),),
        outputs=(TensorInfo(shape=shape, dtype="float32"),),
        params=params if computing else 0,
        covers=covers,
    )


def pairs(matching):
    return [(m.candidate, m.reference, m.rule) for m in matching.matches]


def test_names_then_covers():
    reference = [row("a"), row("bn", "BatchNormalization"), row("relu", "Relu"), row("b")]
    candidate = [row("a", "QLinearConv", covers=("a", "bn", "relu")), row("b")]
    matching = match_layers(reference, candidate)
    assert pairs(matching) == [("a", ("a", "bn", "relu"), "fused"), ("b", ("b",), "name")]
    assert matching.unmatched_reference == matching.unmatched_candidate == ()


def test_what_is_left_is_said_and_boundaries_are_not():
    reference = [row("a"), row("gone"), row("quant", "QuantStub")]
    candidate = [
        row("quant", "Quantize"),
        row("a"),
        row("new", "Relu"),
        row("dq", "DequantizeLinear"),
        row("q2", "DynamicQuantizeLinear"),
        row("q3", "quantize_per_tensor"),
    ]
    matching = match_layers(reference, candidate)
    assert pairs(matching) == [("a", ("a",), "name")]
    assert matching.unmatched_reference == ("gone",)
    assert matching.unmatched_candidate == ("new",)


def test_a_claim_to_what_is_taken_or_absent_is_no_match():
    reference = [row("a"), row("relu", "Relu")]
    first, second = row("x", covers=("a", "relu")), row("y", covers=("a",))
    matching = match_layers(reference, [first, second])
    assert pairs(matching) == [("x", ("a", "relu"), "fused")]
    assert matching.unmatched_candidate == ("y",)
    matching = match_layers(reference, [row("x", covers=("a", "nowhere"))])
    assert pairs(matching) == []
    assert matching.unmatched_reference == ("a", "relu")


def test_an_exact_name_goes_before_another_layer_s_claim():
    matching = match_layers([row("a"), row("b")], [row("x", covers=("a",)), row("a"), row("b")])
    assert ("a", ("a",), "name") in pairs(matching)
    assert matching.unmatched_candidate == ("x",)


def test_the_only_layer_of_its_kind_is_renamed():
    reference = [row("a", params=10), row("b", "Linear", params=20)]
    candidate = [row("b2", "QuantizedLinear", params=20), row("a2", "QLinearConv", params=10)]
    assert pairs(match_layers(reference, candidate)) == [
        ("b2", ("b",), "renamed"),
        ("a2", ("a",), "renamed"),
    ]


def test_equal_layers_are_renamed_only_in_the_same_order():
    same = [row("a"), row("b"), row("c", params=7)]
    renamed = [row("x"), row("y"), row("z", params=7)]
    assert [m.reference for m in match_layers(same, renamed).matches] == [("a",), ("b",), ("c",)]
    # One of the two equal layers is missing: which one cannot be told.
    matching = match_layers(same, [renamed[0], renamed[2]])
    assert pairs(matching) == [("z", ("c",), "renamed")]
    assert matching.unmatched_reference == ("a", "b")
    assert matching.unmatched_candidate == ("x",)
    # Swapped with a layer of another kind: the order proves nothing any more.
    matching = match_layers(same, [renamed[2], renamed[0], renamed[1]])
    assert pairs(matching) == [("z", ("c",), "renamed")]


@pytest.mark.parametrize(
    "other",
    [
        row("x", params=11),
        row("x", shape=(1, 5)),
        row("x", "Linear"),
        row("x", "Relu", computes=False),
        row("x", covers=("something else",)),
    ],
)
def test_other_weights_shapes_or_operators_are_no_renaming(other):
    matching = match_layers([row("a")], [other])
    assert pairs(matching) == []
    assert matching.unmatched_reference == ("a",)


def test_layers_without_weights_are_never_renamed():
    matching = match_layers([row("a", params=0)], [row("x", params=0)])
    assert pairs(matching) == []


def test_matches_come_in_the_candidate_s_order():
    reference = [row("a"), row("b"), row("c")]
    matching = match_layers(reference, [row("c"), row("x", covers=("b",)), row("a")])
    assert [m.candidate for m in matching.matches] == ["c", "x", "a"]
