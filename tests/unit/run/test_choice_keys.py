"""What choices and measured mixtures are kept under."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate import plugins
from gate.core.canonical import digest
from gate.core.case import Case
from gate.core.task import CustomMetric
from gate.quantize.search import budget_of
from gate.run import choose, identity
from gate.run.announce import Announcer
from gate.run.cache import Cache
from gate.run.mixing import _Trial
from gate.run.opened import material
from gate.run.trial import Bench
from gate.spec.choosing import possible
from tests.unit.onnx_models import cnn_model, images
from tests.unit.run.cnn_case import cnn_case

GOOD = {"method": "onnxruntime-static"}
PSNR = CustomMetric(name="psnr", entry="own_metric:psnr", unit="dB", direction="higher")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A float model and samples."""
    made = tmp_path / "specs"
    made.mkdir()
    cnn_model(made)
    for number, name in enumerate(("a", "b")):
        np.savez(made / f"{name}.npz", image=images(16, seed=number)["image"])
    return made


def case_of(folder: Path, **quantization: Any) -> Case:
    tolerances = {"numerical": {"sqnr": ">= 15 dB"}}
    return cnn_case(folder / "keys.yaml", quantization, tolerances=tolerances)


def bench_of(case: Case, work: Path) -> Bench:
    found = material(case)
    return Bench(
        native=found.native,
        samples=found.evaluation,
        calibration=found.calibration,
        cache=Cache(work / "cache"),
        announcer=Announcer(None),
        work=work,
    )


def with_model(case: Case, **changes: Any) -> Case:
    return replace(case, model=replace(case.model, **changes))


def others(case: Case) -> list[Case]:
    """Cases of the same content in which the model is told otherwise."""
    declared = case.model.inputs["image"]
    transformed = {**case.model.options, "inputs": {"image": {"scale": 2}}}
    return [
        with_model(case, task="image-classification"),
        with_model(case, inputs={"image": replace(declared, shape=(4, 3, 16, 16))}),
        with_model(case, options=transformed),
    ]


def elsewhere(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """From here on this machine is another."""
    backend = plugins.load("backends", "onnxruntime")
    here = backend.environment

    def environment(target: Any) -> Any:
        return replace(here(target), **changes)

    monkeypatch.setattr(backend, "environment", environment)


def test_what_decides_a_choice_is_in_its_key(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = case_of(folder, method="ladder", rungs=[GOOD])
    bench = bench_of(case, tmp_path)
    (tmp_path / "pyproject.toml").write_text('[tool.gate]\ntrusted = ["own_metric"]\n')
    source = tmp_path / "own_metric.py"
    source.write_text("def psnr(outputs, truths, inputs): ...\n")
    monkeypatch.chdir(tmp_path)

    def key(one: Case) -> str:
        return digest(dict(choose._key(one, bench)))

    measured = replace(case, metrics=(PSNR,))
    keys = [
        key(case),
        *map(key, others(case)),
        key(with_model(case, decoding={"format": "yolo-v5", "confidence": 0.3})),
        key(measured),
        key(replace(case, metrics=(replace(PSNR, aggregate="ratio"),))),
    ]
    source.write_text("def psnr(outputs, truths, inputs): return 1\n")
    identity._package_sources.cache_clear()  # another run
    keys.append(key(measured))
    assert key(case) == keys[0]
    elsewhere(monkeypatch, cpu_model="another")
    keys.append(key(case))
    assert len(set(keys)) == len(keys)


def test_what_decides_a_mixture_is_in_its_key(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = case_of(folder, method="search", of=GOOD, budget={"size": "<= 2 x uniform"})
    (of,) = possible(case.model, case.quantization, case.target)
    budget = budget_of(case.quantization.options)
    trial = _Trial(case, of, bench_of(case, tmp_path), budget, tmp_path / "mix")

    def key(one: Case) -> str:
        return digest(dict(trial._key(one)))

    plain = trial.case_of(())
    keys = [key(plain), *map(key, others(plain)), key(trial.case_of(tuple(trial.layers)[:1]))]
    elsewhere(monkeypatch, isa=("avx2",))
    keys.append(key(plain))
    assert len(set(keys)) == len(keys)
