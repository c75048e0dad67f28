from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gate.spec.nodes import Node
from gate.spec.paths import PathResolver
from gate.spec.reader import read_bytes

if TYPE_CHECKING:
    import pytest

PATH = {"type": "string", "format": "path"}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "plain": {"type": "string"},
        "path": PATH,
        "nested": {"type": "object", "properties": {"path": PATH}},
        "many": {"type": "array", "items": PATH},
        "named": {"type": "object", "additionalProperties": PATH},
        "either": {"anyOf": [{"type": "integer"}, {"properties": {"path": PATH}}, PATH]},
    },
    "allOf": [{"if": {}, "then": {"properties": {"later": PATH}}}],
}


def tree(text: str) -> Node:
    node, diagnostics = read_bytes(text.encode(), "specs/a.yaml")
    assert node is not None
    assert not diagnostics
    return node


def resolve(text: str, declared: frozenset[str] = frozenset(), **environment: str) -> Any:
    resolver = PathResolver(declared, environment)
    value = resolver.options(tree(text), SCHEMA, ("x",), frozenset({"source"}))
    return value, [str(d) for d in resolver.diagnostics]


def test_paths_are_found_wherever_the_schema_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    value, faults = resolve(
        "{source: s, plain: ../p, path: m.onnx, nested: {path: ./n}, many: [a, /b], named: {k: c},"
        " either: e, later: ../l}"
    )
    assert not faults
    specs = tmp_path / "specs"
    assert value == {
        "plain": "../p",
        "path": str(specs / "m.onnx"),
        "nested": {"path": str(specs / "n")},
        "many": [str(specs / "a"), "/b"],
        "named": {"k": str(specs / "c")},
        "either": str(specs / "e"),
        "later": str(tmp_path / "l"),
    }
    assert resolve("{either: {path: q}}")[0] == {"either": {"path": str(specs / "q")}}
    assert resolve("{either: 3}")[0] == {"either": 3}


def test_variables() -> None:
    value, faults = resolve('{path: "${A}/${B}/x", many: ["$A", "a$b"]}', A="/data", B="b")
    assert not faults
    assert value["path"] == "/data/b/x"
    assert [Path(path).name for path in value["many"]] == ["$A", "a$b"]


def test_a_value_of_a_variable_is_not_expanded_again() -> None:
    assert resolve('{path: "/${A}"}', A="${B}", B="no")[0] == {"path": "/${B}"}


def test_unset_variables() -> None:
    value, faults = resolve('{path: "${A}/${B}/x"}', frozenset({"B"}), B="")
    assert value == {"path": "${A}/${B}/x"}
    assert faults == [
        (
            "specs/a.yaml:1:8: x.path: the environment variable A is not set "
            "(set it, or list it under requires.env to have the cases skipped)"
        )
    ]


def test_variables_elsewhere_and_malformed_ones() -> None:
    assert "paths only" in resolve('{plain: "${A}"}', A="1")[1][0]
    for word in ("${}", "${A B}", "${A:-x}", "${1}"):
        assert "no name of a variable" in resolve(f'{{path: "{word}"}}')[1][0]
