from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gate.spec.build import content_digest
from gate.spec.diagnostics import SpecError
from gate.spec.extends import Extender, merge
from gate.spec.load import load_specs
from gate.spec.nodes import Mapping, Node, key_position, plain
from gate.spec.reader import read_bytes

Write = Callable[[str, str], Path]


def tree(text: str, name: str = "a.yaml") -> Node:
    node, diagnostics = read_bytes(text.encode(), name)
    assert node is not None
    assert not diagnostics
    return node


def test_mappings_are_merged_and_everything_else_is_replaced() -> None:
    base = tree("{a: {x: 1, y: [1, 2]}, b: 1, c: {z: 1}}")
    over = tree("{a: {y: [3], w: 4}, c: 5, d: 6}")
    assert plain(merge(base, over)) == {
        "a": {"x": 1, "y": [3], "w": 4},
        "b": 1,
        "c": 5,
        "d": 6,
    }


def test_null_replaces_and_does_not_delete() -> None:
    assert plain(merge(tree("{a: {x: 1}}"), tree("{a: ~}"))) == {"a": None}


def test_every_node_keeps_its_own_position() -> None:
    merged = merge(tree("a: {x: 1}\n", "base.yaml"), tree("\na: {y: 2}\n", "over.yaml"))
    assert str(key_position(merged, ("a", "x"))) == "base.yaml:1:5"
    assert str(key_position(merged, ("a", "y"))) == "over.yaml:2:5"


def test_several_levels_the_last_named_and_the_nearest_win(write: Write) -> None:
    write("far/_root.yaml", "k: {root: 1, a: root, b: root, own: root}\n")
    write("_a.yaml", "extends: far/_root.yaml\nk: {a: a, b: a, own: a}\n")
    write("_b.yaml", "k: {b: b, own: b}\n")
    path = write("own.yaml", "extends: [_a.yaml, _b.yaml]\nk: {own: own}\n")
    node, diagnostics = Extender().read(path, "own.yaml")
    assert not diagnostics
    assert node is not None
    assert plain(node) == {"k": {"root": 1, "a": "a", "b": "b", "own": "own"}}


def test_a_diamond_is_no_cycle(write: Write) -> None:
    write("_root.yaml", "a: 1\n")
    write("_left.yaml", "extends: _root.yaml\n")
    write("_right.json", '{"extends": "_root.yaml", "b": 2}')
    path = write("own.yaml", "extends: [_left.yaml, _right.json]\n")
    node, diagnostics = Extender().read(path, "own.yaml")
    assert not diagnostics
    assert node is not None
    assert plain(node) == {"a": 1, "b": 2}


def test_a_cycle_through_a_link_is_found(write: Write, tmp_path: Path) -> None:
    path = write("own.yaml", "extends: link.yaml\n")
    (tmp_path / "link.yaml").symlink_to(path)
    _, diagnostics = Extender().read(path, "own.yaml")
    assert [d.message for d in diagnostics] == [
        "'link.yaml' extends this file, so it would extend itself"
    ]


def test_levels_are_limited(write: Write) -> None:
    for level in range(30):
        write(f"_{level}.yaml", f"extends: _{level + 1}.yaml\n")
    path = write("own.yaml", "extends: _0.yaml\n")
    _, diagnostics = Extender().read(path, "own.yaml")
    assert [d.message for d in diagnostics] == ["more than 16 levels of extends"]


def test_a_mistake_in_a_shared_file_is_told_once(write: Write, small: str) -> None:
    write("_base.yaml", small + "run: {bach: 3}\n")
    write("a.yaml", "extends: _base.yaml\n")
    write("b.yaml", "extends: _base.yaml\n")
    with pytest.raises(SpecError) as caught:
        load_specs(["."])
    assert [str(d.position) for d in caught.value.diagnostics] == ["_base.yaml:19:7"]


def test_the_digest_is_of_the_meaning() -> None:
    def digest(text: str, name: str = "a.yaml") -> str:
        node = tree(text, name)
        assert isinstance(node, Mapping)
        return content_digest(node)

    yaml = "# words\nversion: 1\nrun: {batch: 3, timing: {rounds: 1e1}}\n"
    assert digest(yaml) == digest("run:\n  timing: {rounds: 10}\n  batch: 3\nversion: 1\n")
    json = '{"$schema": "x", "version": 1.0, "run": {"batch": 3, "timing": {"rounds": 10}}}'
    assert digest(yaml) == digest(json, "a.json")
    assert digest(yaml) != digest(yaml.replace("3", "4"))
    assert digest(yaml) != digest(yaml.replace("3", "'3'"))


def test_the_digest_does_not_depend_on_the_machine(
    write: Write, small: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = small.replace("models/digits.onnx", '"${MODELS}/digits.onnx"')
    write("a.yaml", text)
    monkeypatch.setenv("MODELS", "/one")
    (first,) = load_specs(["a.yaml"])
    monkeypatch.setenv("MODELS", "/other")
    (second,) = load_specs([str(tmp_path / "a.yaml")])
    assert first.digest == second.digest
    assert first.model.options["path"] == "/one/digits.onnx"
    assert second.model.options["path"] == "/other/digits.onnx"
