"""The list of faults, and that every line of it leads somewhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from gate.drill import inject
from gate.drill.catalogue import FAULTS
from tests.unit.drill.nets import run
from tests.unit.onnx_models import cnn_model, lstm_model


def test_there_are_enough_and_every_family_has_some() -> None:
    assert len(FAULTS) >= 45
    families = [fault.family for fault in FAULTS.values()]
    for family in (
        "weights",
        "activations",
        "structure",
        "calibration",
        "data",
        "runtime",
        "version",
    ):
        assert families.count(family) >= 5


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_has_an_injector_that_says_what_it_does(name: str) -> None:
    fault, injector = FAULTS[name], inject.load(name)
    assert fault.name == name
    assert fault.tiers
    assert fault.summary
    assert injector.__doc__
    assert hasattr(injector, "places") == (fault.point in ("artifact", "reference"))
    assert not fault.silent or fault.point == "data"


def test_the_list_loads_no_framework() -> None:
    code = (
        "import sys, gate.drill.catalogue, gate.drill.inject\n"
        "print([m for m in ('numpy', 'onnx', 'onnxruntime', 'torch', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("make", [cnn_model, lstm_model])
def test_the_float_model_can_be_broken(make, tmp_path: Path) -> None:
    path = make(tmp_path).path
    shape = (8, 8) if make is lstm_model else (3, 16, 16)
    (before,) = run(path, 4, shape=shape)
    model = onnx.load(path)
    injection = inject.load("float_model_broken")(model, np.random.default_rng(0))
    onnx.save(model, path)
    (after,) = run(path, 4, shape=shape)
    assert np.mean((after - before) ** 2) > 1e-4 * np.var(before)
    assert injection.detail
