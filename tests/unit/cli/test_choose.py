"""``gate choose``: where the recipe goes. What the ladders and searches come to is given here;
``tests/e2e/test_choose.py`` and ``tests/unit/run/test_shipped_ladders.py`` really choose."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from gate.cli.main import main
from gate.core.case import Plan
from gate.core.choice import Choice, Tried
from gate.core.result import CaseResult
from gate.spec.choosing import alternatives, chooses
from gate.spec.load import load_specs
from tests.unit.report.records import observation

SPECS = Path(__file__).resolve().parents[3] / "specs"
LADDER = "quantizations:\n  auto: {method: ladder, rungs: [onnxruntime-dynamic]}   # hm\n"
SPEC = """\
version: 1
model:
  id: any
  task: image-classification
  reference: {source: onnx, path: a.onnx}
  inputs: {image: {shape: [N, 1, 8, 8], dtype: float32}}
data: {evaluation: {source: sklearn-digits, split: test}}
targets: {ort: {backend: onnxruntime}}
tolerances: {device: {top1_drop: "< 1 pp"}}
"""

Choose = Callable[..., int]


@pytest.fixture
def choose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Choose:
    """Runs the command in a project of its own; every case comes to its first alternative."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text('[tool.gate]\ntrusted = ["specs"]\n')

    def first(planned: Plan, **_: Any) -> Iterator[CaseResult]:
        for case in planned.cases:
            taken = alternatives(case.quantization)[0]
            choice = Choice(
                how=case.quantization.method,
                method=taken.method,
                options=taken.options,
                chosen=0,
                tried=(Tried(name=taken.name, holds=True, size_bytes=1),),
                on="evaluation",
                samples=8,
                met=True,
            )
            seen = replace(observation(case.id), choice=choice)
            yield CaseResult(case=case, observation=seen)

    monkeypatch.setattr("gate.cli.choose.run_plan", first)
    return lambda *words: main(["choose", *words, "--quiet"])


def test_the_recipe_takes_the_place_of_the_ladder(
    choose: Choose, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("a.yaml").write_text(SPEC + LADDER)
    assert choose("a.yaml") == 0
    assert "+    method: onnxruntime-dynamic   # hm\n" in capsys.readouterr().out
    assert Path("a.yaml").read_text() == SPEC + LADDER, "only --write writes"
    assert choose("a.yaml", "--write") == 0
    (found,) = load_specs(["a.yaml"])[0].quantizations
    assert (found.method, found.options) == ("onnxruntime-dynamic", {})


@pytest.mark.parametrize("own", ["", LADDER])
def test_what_stands_in_an_extended_file_is_shown_with_its_place(
    choose: Choose, capsys: pytest.CaptureFixture[str], own: str
) -> None:
    """In the spec itself the recipe would be merged with the ladder's options: no valid spec."""
    Path("_base.yaml").write_text("# Shared.\n" + LADDER)
    Path("a.yaml").write_text("extends: _base.yaml\n" + SPEC + own)
    before = Path("a.yaml").read_text()
    assert choose("a.yaml", "--write") == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "quantizations.auto is not edited: it stands in _base.yaml:3, " in told.err
    place, fragment = told.err.split("put this into ")[1].split(":\n", 1)
    assert place == "a.yaml"
    assert yaml.safe_load(fragment) == {
        "quantizations": {"auto": {"method": "onnxruntime-dynamic"}}
    }
    assert Path("a.yaml").read_text() == before
    # What it says to do is a spec.
    Path("_base.yaml").write_text("version: 1\n")
    Path("a.yaml").write_text("extends: _base.yaml\n" + SPEC + fragment)
    assert load_specs(["a.yaml"])[0].quantizations[0].method == "onnxruntime-dynamic"


@pytest.mark.parametrize(
    "file",
    [f"systems/{path.name}" for path in sorted((SPECS / "systems").glob("*.yaml"))
     if "method: ladder" in path.read_text() or "method: search" in path.read_text()],
)  # fmt: skip
def test_the_recipes_of_the_shipped_specs_can_be_written(
    choose: Choose, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    monkeypatch.setenv("GATE_DATA", "/data")
    shutil.copytree(SPECS / "_shared", "_shared")
    Path("systems").mkdir()
    shutil.copy(SPECS / file, file)
    (spec,) = load_specs([file])
    wanted = {q.name: alternatives(q)[0] if chooses(q.method) else q for q in spec.quantizations}
    assert choose(file, "--write") == 0
    (written,) = load_specs([file])
    for now in written.quantizations:
        assert (now.method, now.options) == (wanted[now.name].method, wanted[now.name].options)
