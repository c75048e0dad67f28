"""What conversions and candidates are kept under: everything that decides them, and nothing that does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from gate.core.artifact import Format
from gate.core.canonical import digest
from gate.core.case import Case
from gate.data.base import SampleSet
from gate.models import tensorflow
from gate.models.base import LoadedModel
from gate.run.announce import Announcer
from gate.run.cache import Cache
from gate.run.prepare import Workshop
from gate.spec.load import load_specs
from gate.spec.matrix import plan
from tests.unit.run.project import make_project, spec_of, write_spec


class Samples:
    """A sample set of which only the content counts."""

    def digest(self) -> str:
        return "samples"


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    root = make_project(tmp_path / "project")
    monkeypatch.chdir(root)
    return plan(load_specs([write_spec(root, "case", spec_of("good"))])).cases[0]


def workshop(case: Case, folder: Path) -> Workshop:
    cache = Cache(folder / "cache")
    return Workshop(case, cache=cache, announcer=Announcer(None), work=folder, notes=[])


def model_of(case: Case, model_format: Format = Format.ONNX) -> LoadedModel:
    return LoadedModel(format=model_format, sha256="0", size_bytes=1, spec=case.model)


def key(case: Case, folder: Path) -> str:
    samples = cast("SampleSet", Samples())
    return digest(dict(workshop(case, folder)._key(model_of(case), samples)))


def with_model(case: Case, **changes: Any) -> Case:
    return replace(case, model=replace(case.model, **changes))


def test_what_decides_a_candidate_is_in_its_key(case: Case, tmp_path: Path) -> None:
    name, declared = next(iter(case.model.inputs.items()))
    transformed = {**case.model.options, "inputs": {name: {"scale": 2}}}
    others = [
        with_model(case, task="regression"),  # loss: auto goes by it
        with_model(case, inputs={name: replace(declared, shape=(1, *declared.shape[1:]))}),
        with_model(case, options=transformed),
        with_model(case, options={**transformed, "inputs": {name: {"scale": 3}}}),
        replace(case, run=replace(case.run, seed=7)),
    ]
    keys = [key(other, tmp_path) for other in (case, *others)]
    assert len(set(keys)) == len(keys)


def test_where_a_model_lies_does_not_decide_its_candidate(case: Case, tmp_path: Path) -> None:
    moved = with_model(case, options={**case.model.options, "path": "/elsewhere/tiny.onnx"})
    assert key(moved, tmp_path) == key(case, tmp_path)
    # nor do names of the case
    assert key(with_model(replace(case, id="other"), id="other"), tmp_path) == key(case, tmp_path)


def test_a_conversion_of_keras_goes_by_the_other_interpreter(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def conversion(model_format: Format, release: str) -> str:
        python = tmp_path / f"python-{release}"
        python.write_text(f'#!/bin/sh\necho \'{{"tensorflow": "{release}", "keras": "3.12.0"}}\'\n')
        python.chmod(0o755)
        monkeypatch.setenv(tensorflow.INTERPRETER, str(python))
        model = model_of(case, model_format)
        return digest(dict(workshop(case, tmp_path)._conversion_key(model, Format.TFLITE)))

    assert conversion(Format.KERAS, "2.20.0") != conversion(Format.KERAS, "2.21.0")
    assert conversion(Format.KERAS, "2.20.0") == conversion(Format.KERAS, "2.20.0")
    assert conversion(Format.ONNX, "2.20.0") == conversion(Format.ONNX, "2.21.0")
