"""What may import what, and what must not be imported at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gate.plugins import BUILTIN

ROOT = Path(__file__).parents[2]
FRAMEWORKS = (
    "torch", "torchvision", "torchao", "onnx", "onnxruntime", "onnxscript", "sklearn", "scipy",
    "PIL", "safetensors", "tensorflow", "pytest",
)  # fmt: skip
SPEC = """\
version: 1
model:
  id: m
  task: image-classification
  reference: {source: torchvision, name: resnet18, weights: {path: w.pth, sha256: "%s"}}
  inputs: {image: {shape: [N, 3, 8, 8], dtype: float32}}
data:
  calibration: {source: sklearn-digits, samples: 8, seed: 0}
  evaluation: {source: sklearn-digits, skip: 8}
quantizations:
  fx: {method: torch-fx-static}
  ort: {method: onnxruntime-static}
targets:
  torch: {backend: torch}
  ort: {backend: onnxruntime}
tolerances:
  numerical: {finite: true}
""" % ("0" * 64)  # fmt: skip


def loaded_by(code: str) -> tuple[set[str], str]:
    """Frameworks that a fresh interpreter has loaded after ``code``, and what it printed."""
    report = (
        "\nimport sys, json"
        f"\nprint(json.dumps([m for m in {FRAMEWORKS!r} if m in sys.modules]), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code + report],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1])), done.stdout


def command(*arguments: str) -> str:
    return (
        "from gate.cli.main import main\n"
        f"try:\n    code = main({list(arguments)!r})\nexcept SystemExit as end:\n    code = end.code\n"
        "assert code == 0, code"
    )


def test_the_import_contracts_hold() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_importing_the_package_loads_no_framework() -> None:
    assert loaded_by("import gate")[0] == set()


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["run", "--help"], ["baseline", "--help"], ["metrics"]]
)
def test_commands_that_only_talk_load_no_framework(arguments: list[str]) -> None:
    loaded, out = loaded_by(command(*arguments))
    assert loaded == set()
    assert out


def test_reading_and_planning_specs_loads_no_framework(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(SPEC, "utf-8")
    assert loaded_by(command("lint", str(tmp_path)))[0] == set()
    loaded, _ = loaded_by(
        "from gate.spec.load import load_specs\nfrom gate.spec.matrix import plan\n"
        f"assert plan(load_specs([{str(tmp_path)!r}])).cases"
    )
    assert loaded == set()


def test_judging_loads_no_framework() -> None:
    modules = "judge, results, summary"
    assert loaded_by(f"from gate.judge import {modules}\nimport gate.baseline.store")[0] == set()


def test_every_plugin_line_resolves_without_loading_a_framework() -> None:
    lines = [(kind, name) for kind, table in BUILTIN.items() for name in table]
    loaded, out = loaded_by(
        "from gate import plugins\n"
        f"for kind, name in {lines!r}:\n"
        "    plugin = plugins.load(kind, name)\n"
        "    assert getattr(plugin, 'name', name) == name, (kind, name)\n"
        "    print(kind, name)"
    )
    assert len(out.splitlines()) == len(lines)
    assert loaded == set()
