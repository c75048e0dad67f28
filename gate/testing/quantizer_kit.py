"""Conformance kit that every quantizer passes. Subclass it once a quantizer and option set::

class TestTorchDynamic(QuantizerKit):
    quantizer = "torch-dynamic"
    backend = "torch"
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import jsonschema
import numpy as np
import pytest

from gate import plugins
from gate.backends.kept_float import TellingSession
from gate.core.artifact import Artifact, Format
from gate.core.canonical import JsonValue, canonical_json
from gate.core.spec import TargetSpec
from gate.core.tensors import Array
from gate.models.base import LoadedModel
from gate.quantize.base import CalibratingQuantizer, QuantizeError
from gate.testing.checks import (
    assert_closed_object_schema,
    assert_says_why,
    files_under,
    loads_no_framework,
)
from gate.testing.tiny import target_for, tiny_batches, tiny_model


class QuantizerKit:
    """What runs rely on; each test quantizes the same tiny network."""

    quantizer: ClassVar[str]
    """Name in the table of quantizers."""
    backend: ClassVar[str]
    """A backend that opens what it makes."""
    options: ClassVar[Mapping[str, JsonValue]] = {}
    target_options: ClassVar[Mapping[str, JsonValue]] = {}
    max_relative_mse_percent: ClassVar[float] = 2.0
    quantizes: ClassVar[bool] = True
    """False for a method whose result stays in floating point."""
    integers: ClassVar[bool] = True
    """False for a method that stores weights in fewer bits and leaves the arithmetic in floating
    point: weight-only, float16."""
    modules_only: ClassVar[bool] = False
    """True for torch's eager flow, which has no integer kernels for functions between modules."""
    made_before: ClassVar[bool] = False
    """True for a method that takes a file as it is."""
    deterministic: ClassVar[bool] = True
    """False only where the library itself gives other bytes each time."""

    @pytest.fixture
    def plugin(self) -> Any:
        """The quantizer under test; skips, with its own words, where it cannot work here."""
        plugin = plugins.load("quantizers", self.quantizer)
        if reason := plugin.unavailable():
            pytest.skip(reason)
        return plugin

    @pytest.fixture
    def target(self) -> TargetSpec:
        """Where the candidate is to run."""
        return target_for(self.backend, self.target_options)

    @pytest.fixture
    def model(self, plugin: Any, tmp_path: Path) -> LoadedModel:
        """The tiny network in the first format that the quantizer accepts."""
        folder = tmp_path / "model"
        folder.mkdir()
        order = [Format.TORCH_MODULE, Format.ONNX, Format.EXPORTED, Format.KERAS]
        wanted = next(f for f in order if f in plugin.accepts)
        return tiny_model(wanted, folder, modules_only=self.modules_only)

    def quantize(
        self, plugin: Any, model: LoadedModel, target: TargetSpec, out_dir: Path, **changes: Any
    ) -> Artifact:
        """Quantize the tiny network into ``out_dir``, which is made."""
        out_dir.mkdir(parents=True)
        batches = tiny_batches()
        arguments = {
            "calibration": lambda: iter(batches),
            "options": self.options,
            "target": target,
            "seed": 0,
            **changes,
        }
        artifact = plugin.quantize(model, out_dir=out_dir, **arguments)
        assert isinstance(artifact, Artifact)
        return artifact

    def outputs(
        self, artifact: Artifact, model: LoadedModel, target: TargetSpec
    ) -> tuple[Array, Array]:
        """Concatenated reference and candidate outputs on fresh samples."""
        backend = plugins.load("backends", self.backend)
        inputs = tiny_batches(1, 64, seed=5)[0]
        # As in a run: a candidate is opened beside the float model in a form that the backend opens.
        if model.format not in backend.formats:
            folder = artifact.path.parent / "reference"
            folder.mkdir(exist_ok=True)
            model = tiny_model(min(backend.formats), folder)
        with backend.open_reference(model, target=target) as session:
            reference = session.run(inputs)
        with backend.open_candidate(artifact, model=model, target=target) as session:
            candidate = session.run(inputs)
        assert list(candidate) == list(reference)
        return np.concatenate(list(reference.values())), np.concatenate(list(candidate.values()))

    def test_import_loads_no_framework(self) -> None:
        """Plans and lint list every quantizer."""
        assert loads_no_framework("quantizers", self.quantizer) == []

    def test_says_whether_it_works_here(self) -> None:
        """None, or why not."""
        plugin = plugins.load("quantizers", self.quantizer)
        assert plugin.name == self.quantizer
        assert_says_why(plugin.unavailable())

    def test_option_schema_is_closed(self) -> None:
        """A misspelt option is an error of the spec, never ignored; the kit's own options are valid."""
        schema = plugins.load("quantizers", self.quantizer).options_schema
        assert_closed_object_schema(schema)
        jsonschema.validate(dict(self.options), schema)

    def test_versions_are_text(self, plugin: Any) -> None:
        """They enter the cache key."""
        versions = plugin.versions()
        assert all(isinstance(k, str) and isinstance(v, str) for k, v in versions.items())

    def test_artifact_describes_its_file(
        self, plugin: Any, model: LoadedModel, target: TargetSpec, tmp_path: Path
    ) -> None:
        """Path inside out_dir, digest and size of the file, all options with their defaults."""
        artifact = self.quantize(plugin, model, target, tmp_path / "out")
        assert artifact.producer == self.quantizer
        assert plugin.produces in (None, artifact.format)
        if artifact.path.is_relative_to(tmp_path / "out"):
            content = artifact.path.read_bytes()
            assert artifact.sha256 == hashlib.sha256(content).hexdigest()
            assert artifact.size_bytes == len(content)
        else:
            assert self.made_before or not self.quantizes
        canonical_json(artifact.options)
        assert dict(self.options).items() <= dict(artifact.options).items()

    def test_writes_only_into_out_dir(
        self,
        plugin: Any,
        model: LoadedModel,
        target: TargetSpec,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Neither into the current directory nor beside the model."""
        cwd = tmp_path / "cwd"
        cwd.mkdir()
        monkeypatch.chdir(cwd)
        before = files_under(tmp_path)
        self.quantize(plugin, model, target, tmp_path / "out")
        after = files_under(tmp_path)
        assert {name: t for name, t in after.items() if not name.startswith("out/")} == before

    def test_leaves_the_model_alone(
        self, plugin: Any, model: LoadedModel, target: TargetSpec, tmp_path: Path
    ) -> None:
        """The reference runs after it and must be what it was."""
        from gate.models.hashing import files_sha256, module_sha256

        def identity() -> str:
            if model.path is not None:
                return files_sha256([model.path])
            return module_sha256(model.module) if model.format is Format.TORCH_MODULE else ""

        before = identity()
        self.quantize(plugin, model, target, tmp_path / "out")
        assert identity() == before

    def test_is_deterministic(
        self, plugin: Any, model: LoadedModel, target: TargetSpec, tmp_path: Path
    ) -> None:
        """The same bytes twice, so that content identifies a candidate."""
        first = self.quantize(plugin, model, target, tmp_path / "a")
        second = self.quantize(plugin, model, target, tmp_path / "b")
        if self.deterministic:
            assert first.sha256 == second.sha256
        x, y = self.outputs(first, model, target)[1], self.outputs(second, model, target)[1]
        np.testing.assert_array_equal(x, y)

    @pytest.mark.parametrize("how", ["none", "empty"])
    def test_refuses_no_calibration(
        self, plugin: Any, model: LoadedModel, target: TargetSpec, tmp_path: Path, how: str
    ) -> None:
        """Ranges of nothing quantize to nonsense; methods without calibration do not look at it."""
        batches = None if how == "none" else lambda: iter(())
        sometimes = isinstance(plugin, CalibratingQuantizer) and plugin.calibrates(self.options)
        if not (plugin.needs_calibration or sometimes):
            self.quantize(plugin, model, target, tmp_path / "out", calibration=batches)
            return
        with pytest.raises(QuantizeError, match="calibration"):
            self.quantize(plugin, model, target, tmp_path / "out", calibration=batches)

    def test_candidate_computes_the_same_function(
        self, plugin: Any, model: LoadedModel, target: TargetSpec, tmp_path: Path
    ) -> None:
        """Close to the float model, and not the float model."""
        artifact = self.quantize(plugin, model, target, tmp_path / "out")
        x, y = self.outputs(artifact, model, target)
        assert y.dtype == np.float32
        error = 100 * float(((x - y) ** 2).sum() / (x**2).sum())
        assert error <= self.max_relative_mse_percent
        assert (error > 0) is self.quantizes

    def test_something_is_quantized(
        self, plugin: Any, model: LoadedModel, target: TargetSpec, tmp_path: Path
    ) -> None:
        """The layer table of the candidate shows integers, and parameters held in fewer bits."""
        artifact = self.quantize(plugin, model, target, tmp_path / "out")
        backend = plugins.load("backends", self.backend)
        with backend.open_candidate(artifact, model=model, target=target) as session:
            rows = session.layers(tiny_batches(1, 2)[0])
        reduced = [r for r in rows if r.computes and (r.params_quantized or r.params_half)]
        quantized = [row for row in rows if row.computes and row.quantized]
        assert bool(reduced) is self.quantizes
        assert bool(quantized) is (self.quantizes and self.integers)
        assert all(row.weight is not None and row.params_quantized > 0 for row in quantized)

    def test_keeps_no_float_weight(
        self, plugin: Any, model: LoadedModel, target: TargetSpec, tmp_path: Path
    ) -> None:
        """Neither beside its integers nor where nothing reads it; what is left in float is read."""
        artifact = self.quantize(plugin, model, target, tmp_path / "out")
        backend = plugins.load("backends", self.backend)
        with backend.open_candidate(artifact, model=model, target=target) as session:
            if not isinstance(session, TellingSession):
                # Telling is optional for a backend: a verdict says SKIPPED there, in the same words.
                pytest.skip(f"{self.backend} does not tell which weights lie in float")
            assert session.kept_float() == ()
