"""The specs of the tasks beside classification: their data, their weights, and what their networks reach."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gate import plugins
from gate.core.spec import Spec
from gate.core.task import Task
from gate.data.samples import open_samples
from gate.judge.tasks import scored
from gate.spec.load import load_specs
from gate.tiers.task_table import task_scorer
from specs.data import tasks as data
from specs.data.digits import grey
from specs.training import digits, tasks

ROOT = Path(__file__).parents[3]
REACHED = {
    "task_transcription": {"wer": 8.0, "cer": 4.0},
    "task_language_model": {"perplexity": 7.5},
    "task_verification": {"eer": 3.5},
    "task_anomaly": {"roc_auc": 88.0},
    "task_regression": {"mae": 48.0, "rmse": 60.0},
}
"""Bounds of the float networks, with room for other processors."""


@pytest.fixture(scope="module")
def specs() -> Iterator[dict[str, Spec]]:
    patch = pytest.MonkeyPatch()
    patch.chdir(ROOT)
    yield {spec.id: spec for spec in load_specs(["specs/systems"])}
    patch.undo()


def test_every_task_of_the_field_has_a_spec(specs: dict[str, Spec]) -> None:
    assert {spec.model.task for spec in specs.values()} >= set(Task) - {Task.OTHER}
    assert set(REACHED) == {name for name in specs if name.startswith("task_")}
    assert set(tasks.RECIPES) == set(REACHED)


@pytest.mark.parametrize("name", REACHED)
def test_the_float_network_does_its_task_but_not_perfectly(
    specs: dict[str, Spec], name: str
) -> None:
    spec = specs[name]
    if name == "task_transcription":
        pytest.importorskip("jiwer", reason="extra 'tasks' not installed")
    weights = Path(spec.model.options["weights"]["path"])
    assert weights.stat().st_size < 300_000
    module = plugins.load("sources", spec.model.source).load(spec.model, seed=0).module
    evaluation, _ = open_samples(spec.data, spec.model.inputs)
    scorer = task_scorer(spec.model, spec.data.preprocess)
    with torch.no_grad():
        for batch in evaluation.batches(100):
            (fed,) = batch.inputs.values()
            outputs = {"output": module(torch.from_numpy(fed)).numpy()}
            scorer.add(batch, outputs, outputs)
    values = scored(scorer.result())
    for metric, bound in REACHED[name].items():
        value = values.reference[metric]
        assert bound <= value < 100.0 if metric == "roc_auc" else 0.0 < value <= bound, metric
        assert values.values[metric] == value


def test_training_again_gives_the_same_bytes(
    specs: dict[str, Spec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice here, to the digest; and the committed file, to what another processor rounds otherwise."""
    monkeypatch.setattr(digits, "WEIGHTS", tmp_path)
    made = []
    threads = torch.get_num_threads()
    with torch.random.fork_rng():
        for _ in range(2):
            digits.reproducible(seed=0)
            made.append(digits.save(tasks.train("task_regression")[0], "again"))
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)
    assert made[0] == made[1]
    pinned = specs["task_regression"].model.options["weights"]
    assert pinned["sha256"] == hashlib.sha256(Path(pinned["path"]).read_bytes()).hexdigest()
    ours, theirs = load_file(tmp_path / "again.safetensors"), load_file(pinned["path"])
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-2, atol=1e-2)


class TestData:
    def test_lines_say_what_they_show(self) -> None:
        few, texts = data.lines("test", 5)
        many, more = data.lines("test", 9)
        np.testing.assert_array_equal(few, many[:5])
        assert texts.tolist() == more[:5].tolist()
        assert many.shape == (9, data.WIDTH, 8)
        for line, text in zip(many, more, strict=True):
            inked = np.flatnonzero(line.any(axis=1))
            # One gap is that between the two numbers; a digit's own columns are together.
            assert (np.diff(inked) > data.BETWEEN_NUMBERS).sum() == 1 == text.count(" ")
            assert inked[-1] < data.WIDTH - 1
            assert set(text) <= set(data.DIGITS[1:])

    def test_texts_that_are_evaluated_are_no_part_of_the_training(self) -> None:
        train, test = (
            "".join(data.LETTERS[i] for i in data.characters(s)) for s in ("train", "test")
        )
        assert "results of a chemical analysis of wines" in test
        assert "wines" not in train
        text, following = data.windows("test")
        counted = following != data.NOT_COUNTED
        np.testing.assert_array_equal(following[:, data.CONTEXT : -1], text[:, data.CONTEXT + 1 :])
        assert counted.sum(axis=1).tolist() == [data.WINDOW - data.CONTEXT] * len(text)

    def test_the_autoencoder_is_shown_no_anomaly(self) -> None:
        train, labels = data.pixels("train")
        test, anomalous = data.pixels("test")
        assert not labels.any()
        assert len(train) == (grey("train")[1] != data.ANOMALY).sum()
        np.testing.assert_array_equal(anomalous == 1, grey("test")[1] == data.ANOMALY)
        assert test.max() == 1.0

    def test_patients_are_those_of_scikit_learn(self) -> None:
        from sklearn.datasets import load_diabetes

        theirs = load_diabetes(scaled=False)
        (train, early), (test, late) = data.patients("train"), data.patients("test")
        assert sorted([*early, *late]) == sorted(theirs.target)
        assert (len(early), len(late)) == (300, data.TEST_PATIENTS)
        np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-4)
        np.testing.assert_allclose(train.std(axis=0), 1, atol=1e-4)
        # Measurements stand beside the disease of the same patient.
        ours = np.corrcoef(np.vstack([train, test]).T, np.concatenate([early, late]))
        np.testing.assert_allclose(ours, np.corrcoef(theirs.data.T, theirs.target), atol=1e-4)
