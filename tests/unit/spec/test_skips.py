from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gate import plugins
from gate.spec.load import load_specs
from gate.spec.matrix import plan
from gate.spec.skips import skip_reason

if TYPE_CHECKING:
    import pytest

Write = Callable[[str, str], Path]


def test_requirements_and_their_hint(
    write: Write, small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GATE_TEST_A", raising=False)
    needs = "requires: {packages: [json, absent_a, json.absent_b], env: [GATE_TEST_A], install: do so}\n"
    write("a.yaml", small + needs)
    case = plan(load_specs(["a.yaml"])).cases[0]
    assert skip_reason(case) == (
        "the package absent_a is not installed; "
        "the package json.absent_b is not installed; "
        "the environment variable GATE_TEST_A is not set (do so)"
    )
    monkeypatch.setenv("GATE_TEST_A", "1")
    assert "GATE_TEST_A" not in str(skip_reason(case))


def test_a_plugin_that_cannot_work_here(
    write: Write, small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("a.yaml", small)
    case = plan(load_specs(["a.yaml"])).cases[0]
    assert skip_reason(case) is None
    method = plugins.load("quantizers", "onnxruntime-static")
    monkeypatch.setattr(type(method), "unavailable", lambda _: "no onnx: pip install it")
    assert skip_reason(case) == "method onnxruntime-static: no onnx: pip install it"
