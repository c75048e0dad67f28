from __future__ import annotations

import json

import pytest
import yaml

from gate.spec.rewrite import RewriteError, with_quantization

RECIPE = {"method": "torch-fx-static", "keep_float": ["stem.*", "head"]}
TEXT = """version: 1   # a spec
quantizations:
  flow: {method: ladder, rungs: [x, "}", '{']}   # first
  block:
    method: ladder   # hm
    rungs: [flow,
       x]

    # a last word
  # about the next
  lines: {method: ladder,   # a } in a comment
      rungs: [flow]}

targets: {t: {backend: torch}}
"""


@pytest.mark.parametrize("name", ["flow", "block", "lines"])
def test_the_one_value_changes_and_nothing_else(name: str) -> None:
    edited = with_quantization(TEXT, "a.yaml", name, RECIPE, ["why", "because"])
    expected = yaml.safe_load(TEXT)
    expected["quantizations"][name] = RECIPE
    assert yaml.safe_load(edited) == expected
    assert f"  # why\n  # because\n  {name}:\n    method: torch-fx-static\n" in edited
    # Every line that is not of this entry is still there, comments and layout included.
    for line in TEXT.splitlines():
        own = {
            "flow": "flow: {",
            "block": "    ",
            "lines": "lines: {",
        }[name]
        if own not in line and "rungs: [flow]}" not in line and line.strip() != f"{name}:":
            assert line in edited.splitlines()


def test_a_flow_section_stays_on_its_line() -> None:
    text = "quantizations: {a: {method: ladder}, b: {method: x}}\n"
    edited = with_quantization(text, "a.yaml", "a", RECIPE, ["why"])
    assert edited.count("\n") == 1
    assert yaml.safe_load(edited)["quantizations"] == {"a": RECIPE, "b": {"method": "x"}}


def test_json_stays_json() -> None:
    text = '{"quantizations": {"a": {"method": "ladder"}, "b": {"method": "x"}}, "version": 1}'
    edited = json.loads(with_quantization(text, "a.json", "a", RECIPE, ["why"]))
    assert edited == {"quantizations": {"a": RECIPE, "b": {"method": "x"}}, "version": 1}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("extends: base.yaml\n", "another file"),
        ("quantizations:\n  b: {method: x}\n", "another file"),
        ("x: &l {method: ladder}\nquantizations:\n  a: *l\n", "not edited here"),
        ("quantizations:\n  a: &l {method: ladder}\n  b: *l\n", "not edited here"),
    ],
)
def test_what_cannot_be_edited_is_refused(text: str, why: str) -> None:
    with pytest.raises(RewriteError, match=why):
        with_quantization(text, "a.yaml", "a", RECIPE, [])
