"""Whatever a spec file holds, the answer is a spec or diagnostics: never another exception."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gate.core.spec import Spec
from gate.spec.diagnostics import Diagnostic, SpecError
from gate.spec.load import load_specs
from gate.spec.matrix import plan
from gate.spec.reader import read_bytes

GOOD = Path(__file__).parents[2] / "spec_errors" / "good"
TEXTS = [path.read_bytes() for path in sorted(GOOD.iterdir())]
TEXTS.append((GOOD.parent / "_base.yaml").read_bytes())
TOKENS = [
    b"{", b"}", b"[", b"]", b":", b": ", b",", b"\n", b"\n  ", b"- ", b"&a ", b"*a", b"!!str ", b"!x ",
    b"'", b'"', b"|\n", b">\n", b"#", b"\t", b"---\n", b"...\n", b"%YAML 1.2\n", b"? ", b"<<: ", b"~",
    b".nan", b"1e999", b"-1", b"0", b"3.0", b"true", b"\x00", b"\xff", b"\xe2\x80\xa8", b"${A}", b"*",
    b">= ", b"baseline", b" x reference", b"%", b"extends: a.yaml\n", b"none", b"torch", b"\\",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def answer(folder: Path, name: str, data: bytes) -> None:
    (folder / "a.yaml").write_bytes(TEXTS[-1])
    (folder / name).write_bytes(data)
    found: tuple[Diagnostic, ...] | None = None
    specs: list[Spec] = []
    try:
        specs = load_specs([str(folder / name)])
    except SpecError as error:
        found = error.diagnostics
    if found is None:
        assert all(isinstance(spec, Spec) for spec in specs)
        assert plan(specs).cases
        return
    assert found
    for diagnostic in found:
        line = str(diagnostic)
        line.encode()
        assert "\n" not in line
        assert diagnostic.position.line >= 1
        assert diagnostic.position.column >= 1


FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@FUZZ
@given(st.binary(max_size=200), st.sampled_from(["x.yaml", "x.json"]))
def test_any_bytes(folder: Path, data: bytes, name: str) -> None:
    answer(folder, name, data)


@FUZZ
@given(
    st.text(alphabet="abc:{}[],&*!|>'\"%@`#?- \n\t0.~\\/é\U0001f600", max_size=60),
    st.sampled_from(["x.yaml", "x.json"]),
)
def test_any_text_of_indicators(folder: Path, text: str, name: str) -> None:
    answer(folder, name, text.encode())


@FUZZ
@given(st.sampled_from(TEXTS), st.integers(0, 2**32), st.integers(1, 4))
def test_damaged_specs(folder: Path, data: bytes, seed: int, times: int) -> None:
    chance = random.Random(seed)  # noqa: S311 no secret
    mutable = bytearray(data.replace(b"../_", b"a"))
    for _ in range(times):
        place = chance.randrange(len(mutable) + 1)
        kind = chance.randrange(4)
        if kind == 0:
            mutable[place:place] = chance.choice(TOKENS)
        elif kind == 1:
            del mutable[place : place + chance.randrange(1, 12)]
        elif kind == 2:
            start = chance.randrange(len(mutable) + 1)
            mutable[place:place] = mutable[start : start + chance.randrange(1, 40)]
        else:
            lines = bytes(mutable).split(b"\n")
            first, second = chance.randrange(len(lines)), chance.randrange(len(lines))
            lines[first], lines[second] = lines[second], lines[first]
            mutable = bytearray(b"\n".join(lines))
    answer(folder, "x.yaml", bytes(mutable))


_LEAVES = st.sampled_from(
    [
        None,
        True,
        False,
        0,
        1,
        -1,
        2.5,
        "",
        "x",
        "*",
        "none",
        "torch",
        "onnx",
        "npz",
        ">= 1 %",
        "true",
    ]
)
_WORDS = st.sampled_from(
    ["version", "model", "data", "quantizations", "targets", "tolerances", "overrides", "when", "method",
     "backend", "source", "numerical", "layers", "device", "sqnr", "top1", "size", "bound", "subjects",
     "matrix", "include", "exclude", "run", "timing", "requires", "env", "extends", "id", "drop",
     "metrics", "expect", "evaluation", "calibration", "preprocess", "reference", "path", "inputs", "x"]
)  # fmt: skip


@FUZZ
@given(
    st.dictionaries(
        _WORDS,
        st.recursive(
            _LEAVES,
            lambda below: st.lists(below, max_size=3) | st.dictionaries(_WORDS, below, max_size=4),
            max_leaves=10,
        ),
        max_size=4,
    )
)
def test_known_words_in_any_place(folder: Path, document: dict[str, object]) -> None:
    text = json.dumps(document)
    for name in ("x.yaml", "x.json"):
        answer(folder, name, text.encode())
        answer(folder, name, json.dumps({"extends": "a.yaml", **document}).encode())


@FUZZ
@given(st.binary(max_size=300))
def test_the_reader_alone(data: bytes) -> None:
    for name in ("a.yaml", "a.json"):
        node, diagnostics = read_bytes(data, name)
        assert node is not None or diagnostics
