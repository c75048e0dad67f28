"""Conformance kit that every data source passes. Subclass it once a source::

class TestNpz(DataSourceKit):
    name = "npz"

    @pytest.fixture
    def options(self, tmp_path):
        np.savez(tmp_path / "a.npz", x=images, y=labels)
        return {"path": str(tmp_path / "a.npz"), "inputs": "x", "labels": "y"}
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any, ClassVar

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from gate import plugins
from gate.core.spec import DataSpec, InputSpec, Options, SampleSpec
from gate.core.tensors import Array
from gate.data.base import Dataset, DataSource
from gate.data.samples import open_samples

HEAVY = ("numpy", "torch", "torchvision", "PIL", "sklearn", "onnx", "onnxruntime")


class DataSourceKit:
    """What sampling, digests and calibration rely on."""

    name: ClassVar[str]
    """Key in ``gate.plugins``."""
    required_path: ClassVar[str | None] = None
    """An option that names a file or folder, where the source has one."""

    @pytest.fixture
    def options(self) -> Options:
        """Options that open at least four samples of one shape, in one array or as images."""
        raise NotImplementedError  # the kit has no source of its own

    @pytest.fixture
    def source(self) -> DataSource:
        """The source, loaded by name as a run does."""
        source: DataSource = plugins.load("data", self.name)
        return source

    @pytest.fixture
    def dataset(self, source: DataSource, options: Options) -> Dataset:
        """The opened samples."""
        return source.open(options)

    def test_module_imports_nothing_heavy(self) -> None:
        """Specs are checked where no framework is installed."""
        module = plugins.table("data")[self.name].path.partition(":")[0]
        code = f"import sys, {module}; print(sorted(set({HEAVY!r}) & set(sys.modules)))"
        done = subprocess.run(  # noqa: S603 - this interpreter, on a name of our own table
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "[]"

    def test_is_known_by_its_own_name_and_available(self, source: DataSource) -> None:
        """The table, the class and a spec use one name; the kit runs where it works."""
        assert source.name == self.name
        assert source.unavailable() is None

    def test_schema_is_valid_closed_and_fits_the_options(
        self, source: DataSource, options: Options
    ) -> None:
        """A misspelt option is an error, and the kit's own options are accepted."""
        schema = dict(source.options_schema)
        Draft202012Validator.check_schema(schema)
        validator = Draft202012Validator(schema)
        assert schema["type"] == "object"
        assert not list(validator.iter_errors(dict(options)))
        assert list(validator.iter_errors({**options, "unheard_of": 1}))

    def test_paths_are_marked(self, source: DataSource) -> None:
        """The reader makes marked options absolute; an unmarked path would depend on the folder."""
        if self.required_path is not None:
            assert source.options_schema["properties"][self.required_path]["format"] == "path"

    def test_reading_again_gives_the_same(self, source: DataSource, options: Options) -> None:
        """Same samples, labels and identities from the same data set and from a second one."""
        one, two = source.open(options), source.open(options)
        assert len(one) == len(two) >= 4
        for index in (0, len(one) - 1, 0):
            assert one.identity(index) == two.identity(index)
            np.testing.assert_array_equal(one.label(index), two.label(index))
            for a, b in zip(_arrays(one.raw(index)), _arrays(two.raw(index)), strict=True):
                np.testing.assert_array_equal(a, b)

    def test_identity_tells_samples_apart(self, dataset: Dataset) -> None:
        """Equal identities only for equal samples."""
        by_identity: dict[bytes, int] = {}
        for index in range(min(len(dataset), 50)):
            identity = dataset.identity(index)
            assert isinstance(identity, bytes)
            other = by_identity.setdefault(identity, index)
            for a, b in zip(_arrays(dataset.raw(index)), _arrays(dataset.raw(other)), strict=True):
                np.testing.assert_array_equal(a, b)
        assert len(by_identity) > 1

    def test_truths_are_of_one_kind(self, dataset: Dataset) -> None:
        """None for all samples, or plain non-negative integers, texts or arrays for all."""
        labels = [dataset.label(index) for index in range(len(dataset))]
        (kind,) = {type(label) for label in labels}
        assert kind in {int, str, np.ndarray, type(None)}
        assert kind is not int or all(label >= 0 for label in labels if isinstance(label, int))

    def test_samples_can_be_drawn_and_batched(self, dataset: Dataset, options: Options) -> None:
        """A run reads every sample once, in order."""
        raw = dataset.raw(0)
        shape = raw.shape if isinstance(raw, np.ndarray) else ("C", "H", "W")
        inputs = {"x": InputSpec(shape=("N", *shape), dtype="float32")}
        everything = SampleSpec(source=self.name, options=options, samples=None, skip=0, seed=None)
        chosen, _ = open_samples(
            DataSpec(evaluation=everything, calibration=None, preprocess={}, overlap=False), inputs
        )
        indices = [index for batch in chosen.batches(3) for index in batch.indices]
        assert indices == list(range(len(dataset)))
        assert len(chosen.digest()) == 64


def _arrays(raw: Any) -> list[Array]:
    return [np.asarray(part) for part in (raw.values() if isinstance(raw, dict) else [raw])]
