from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gate.core.case import Case, Plan
from gate.core.status import Tier
from gate.spec.diagnostics import SpecError
from gate.spec.load import load_specs
from gate.spec.matrix import SelectError, plan

Write = Callable[[str, str], Path]


@pytest.fixture
def planned(write: Write, small: str) -> Callable[..., Plan]:
    def plan_text(*select: str, extra: str = "", text: str = small) -> Plan:
        write("a.yaml", text + extra)
        return plan(load_specs(["a.yaml"]), select)

    return plan_text


def ids(found: Plan) -> list[str]:
    return [case.id for case in found.cases]


def bounds(case: Case) -> list[tuple[str, str, str | None, str]]:
    return [(t.tier.value, t.metric, t.subjects, t.text) for t in case.tolerances]


ALL = ["a/static@ort", "a/static@ort-4", "a/dynamic@ort", "a/dynamic@ort-4"]


def test_every_pair_is_a_case_in_the_order_written(planned: Callable[..., Plan]) -> None:
    found = planned()
    assert ids(found) == ALL
    assert found.not_applicable == ()
    assert found.cases[1].target.threads == 4
    assert found.cases[0].tiers == (Tier.NUMERICAL, Tier.DEVICE)
    assert found.cases[0].spec_path == "a.yaml"


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ('{include: [{quantization: "sta*"}, {target: ort}]}', ALL[:3]),
        ('{exclude: [{quantization: dynamic, target: "*-4"}]}', ALL[:3]),
        (
            '{include: [{target: "o*"}], exclude: [{quantization: dynamic, target: ort}]}',
            [*ALL[:2], ALL[3]],
        ),
    ],
)
def test_include_and_exclude(
    planned: Callable[..., Plan], matrix: str, expected: list[str]
) -> None:
    found = planned(extra=f"matrix: {matrix}\n")
    assert ids(found) == expected
    # What the author left out is said as well, since nothing else would tell of it.
    assert [(one.id, one.reason) for one in found.not_applicable] == [
        (name, "the spec's matrix leaves it out") for name in ALL if name not in expected
    ]


def test_selecting_what_the_matrix_leaves_out(planned: Callable[..., Plan]) -> None:
    with pytest.raises(SelectError, match=r"a/dynamic@ort: the spec's matrix leaves it out"):
        planned(
            "a/dynamic@ort", extra="matrix: {exclude: [{quantization: dynamic, target: ort}]}\n"
        )


def test_globs_tell_capitals_apart(planned: Callable[..., Plan]) -> None:
    with pytest.raises(SpecError, match="'STATIC' matches none"):
        planned(extra="matrix: {include: [{quantization: STATIC}]}\n")


def test_selection_is_a_union_in_the_order_of_the_plan(planned: Callable[..., Plan]) -> None:
    assert ids(planned("*@ort-4", "a/static@*")) == [ALL[0], ALL[1], ALL[3]]
    assert ids(planned("*")) == ALL


@pytest.mark.parametrize(
    ("glob", "message"),
    [
        ("static", "'static' selects no case"),
        ("a/statc@ort", "did you mean 'a/static@ort'?"),
        ("b/*", "'gate plan' lists the cases"),
    ],
)
def test_a_selection_of_nothing_is_an_error(
    planned: Callable[..., Plan], glob: str, message: str
) -> None:
    with pytest.raises(SelectError) as caught:
        planned("*", glob)
    assert message in str(caught.value)


TORCH = """
quantizations: {fx: {method: torch-fx-static}}
targets: {torch: {backend: torch, engine: x86}}
"""


def torch_and_onnx(small: str) -> str:
    text = small.replace(
        "{source: onnx, path: models/digits.onnx}", '{source: python, entry: "specs.models:cnn"}'
    )
    text = text.replace("quantizations:\n", "quantizations:\n  fx: {method: torch-fx-static}\n")
    text = text.replace("quantizations:\n", "quantizations:\n  float: {method: none}\n")
    return text.replace("targets:\n", "targets:\n  torch: {backend: torch, engine: x86}\n")


def test_pairs_whose_formats_cannot_meet_are_said(planned: Callable[..., Plan], small: str) -> None:
    found = planned(text=torch_and_onnx(small))
    assert ids(found) == [
        "a/float@torch",
        "a/float@ort",
        "a/float@ort-4",
        "a/fx@torch",
        *ALL,
    ]
    assert [(other.id, other.reason) for other in found.not_applicable] == [
        ("a/fx@ort", "torch-fx-static writes torch-quantized, onnxruntime opens onnx"),
        ("a/fx@ort-4", "torch-fx-static writes torch-quantized, onnxruntime opens onnx"),
        (
            "a/static@torch",
            "onnxruntime-static writes onnx, torch opens exported or torch-module or torch-quantized",
        ),
        (
            "a/dynamic@torch",
            "onnxruntime-dynamic writes onnx, torch opens exported or torch-module or torch-quantized",
        ),
    ]


def test_what_an_entry_makes_decides_where_it_runs(
    planned: Callable[..., Plan], small: str
) -> None:
    text = torch_and_onnx(small)
    own = '{method: python, entry: "specs.q:make"'
    text = text.replace("  float: {method: none}", f"  a: {own}}}\n  b: {own}, output: onnx}}")
    found = planned("a/[ab]@*", text=text)
    assert ids(found) == ["a/a@torch", "a/b@ort", "a/b@ort-4"]
    assert [other.reason for other in found.not_applicable] == [
        "python writes torch-quantized, onnxruntime opens onnx",
        "python writes torch-quantized, onnxruntime opens onnx",
        "python writes onnx, torch opens exported or torch-module or torch-quantized",
    ]


def test_selecting_a_pair_that_cannot_exist_says_why(
    planned: Callable[..., Plan], small: str
) -> None:
    with pytest.raises(SelectError, match="a/fx@ort cannot exist: torch-fx-static writes"):
        planned("a/fx@ort", text=torch_and_onnx(small))


def test_no_possible_pair_is_a_mistake(planned: Callable[..., Plan], small: str) -> None:
    text = small.replace("targets:\n", "targets:\n  torch: {backend: torch}\n")
    with pytest.raises(SpecError, match=r"targets\.torch: no pair with it can exist"):
        planned(text=text)


def override(body: str) -> str:
    return f"  overrides:\n    - {{{body}, because: reason}}\n"


def test_overrides_replace_add_and_drop(planned: Callable[..., Plan]) -> None:
    extra = override(
        "when: {quantization: dynamic}, drop: [device.top1_drop], tolerances: {"
        'numerical: {sqnr: ">= 10 dB", cosine: ">= 0.9"}, '
        'layers: {sqnr: {bound: ">= 5 dB", subjects: "conv*"}}}'
    )
    found = planned(extra=extra)
    assert bounds(found.cases[0]) == [
        ("numerical", "relative_mse", None, "< 1 %"),
        ("numerical", "sqnr", None, ">= 20 dB"),
        ("numerical", "sqnr", None, ">= baseline - 1 dB"),
        ("device", "top1_drop", None, "< 1 pp"),
    ]
    assert bounds(found.cases[2]) == [
        ("numerical", "relative_mse", None, "< 1 %"),
        ("numerical", "sqnr", None, ">= 10 dB"),
        ("numerical", "cosine", None, ">= 0.9"),
        ("layers", "sqnr", "conv*", ">= 5 dB"),
    ]


def test_only_the_same_subjects_are_replaced(planned: Callable[..., Plan]) -> None:
    extra = override(
        'when: {quantization: "*"}, tolerances: {numerical: '
        '{sqnr: [{bound: ">= 5 dB", subjects: aux}, {bound: ">= 4 dB", subjects: "a*"}]}}'
    )
    assert bounds(planned(extra=extra).cases[0])[1:3] == [
        ("numerical", "sqnr", None, ">= 20 dB"),
        ("numerical", "sqnr", None, ">= baseline - 1 dB"),
    ]


def test_the_last_override_wins(planned: Callable[..., Plan]) -> None:
    extra = override('when: {target: ort}, tolerances: {numerical: {relative_mse: "< 2 %"}}')
    extra += (
        "    - {when: {target: ort}, drop: [numerical.relative_mse], because: first}\n"
        '    - {when: {target: "o*"}, tolerances: {numerical: {relative_mse: "< 3 %"}}, because: x}\n'
    )
    found = planned(extra=extra)
    for case in found.cases:
        assert ("numerical", "relative_mse", None, "< 3 %") in bounds(case)


def test_expected_failures(planned: Callable[..., Plan]) -> None:
    extra = override("when: {quantization: static}, expect: fail, metrics: [sqnr]")
    found = planned(extra=extra)
    assert [case.expected_failure for case in found.cases] == ["reason", "reason", None, None]
    assert found.cases[0].expected_metrics == ("sqnr",)


def test_specs_keep_their_order(write: Write, small: str) -> None:
    for name in ("b", "a"):
        write(f"{name}.yaml", small)
    found = plan(load_specs(["b.yaml", "a.yaml"]), ["*/static@ort"])
    assert ids(found) == ["b/static@ort", "a/static@ort"]
