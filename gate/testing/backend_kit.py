"""Conformance kit that every backend passes. Subclass it once a backend and engine::

class TestTorchX86(BackendKit):
    backend = "torch"
    target_options = {"engine": "x86"}
    quantizer = "torch-fx-static"
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import jsonschema
import numpy as np
import pytest

from gate import plugins
from gate.backends.base import BackendError
from gate.core.artifact import Artifact, Format
from gate.core.canonical import JsonValue
from gate.core.convert import from_plain, to_plain
from gate.core.environment import Environment
from gate.core.layer import LayerRow
from gate.core.spec import TargetSpec
from gate.core.tensors import TensorMap
from gate.models.base import LoadedModel
from gate.testing.capture_kit import CaptureKit
from gate.testing.checks import (
    assert_closed_object_schema,
    assert_says_why,
    duplicates,
    loads_no_framework,
)
from gate.testing.tiny import INPUT, SHAPE, target_for, tiny_batches, tiny_model, tiny_module


class BackendKit(CaptureKit):
    """What the tiers rely on; each test opens the same tiny network, in floating point and quantized."""

    backend: ClassVar[str]
    """Name in the table of backends."""
    target_options: ClassVar[Mapping[str, JsonValue]] = {}
    reference_format: ClassVar[Format] = Format.TORCH_MODULE
    quantizer: ClassVar[str]
    """A quantizer whose candidates it opens."""
    quantizer_options: ClassVar[Mapping[str, JsonValue]] = {}

    @pytest.fixture(scope="class")
    @classmethod
    def plugin(cls, target: TargetSpec) -> Any:
        """The backend under test; skips, with its own words, where it cannot work here."""
        plugin = plugins.load("backends", cls.backend)
        if reason := plugin.unavailable(target):
            pytest.skip(reason)
        return plugin

    @pytest.fixture(scope="class")
    @classmethod
    def target(cls) -> TargetSpec:
        """The backend with its options."""
        return target_for(cls.backend, cls.target_options)

    @pytest.fixture
    def inputs(self) -> TensorMap:
        """Five samples."""
        return tiny_batches(1, 5, seed=3)[0]

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
        """The network in the format that the backend takes references in."""
        return tiny_model(cls.reference_format, tmp_path_factory.mktemp("model"))

    @pytest.fixture(scope="class")
    @classmethod
    def artifact(
        cls,
        plugin: Any,  # noqa: ARG003 - skips before anything is quantized
        model: LoadedModel,
        target: TargetSpec,
        tmp_path_factory: pytest.TempPathFactory,
    ) -> Artifact:
        """The network, quantized."""
        quantizer = plugins.load("quantizers", cls.quantizer)
        if reason := quantizer.unavailable():
            pytest.skip(reason)
        batches = tiny_batches()
        if model.format not in quantizer.accepts:
            wanted = next(f for f in (Format.TORCH_MODULE, Format.KERAS) if f in quantizer.accepts)
            model = tiny_model(wanted, tmp_path_factory.mktemp("source"))
        made = quantizer.quantize(
            model,
            lambda: iter(batches),
            options=cls.quantizer_options,
            target=target,
            seed=0,
            out_dir=tmp_path_factory.mktemp("candidate"),
        )
        assert isinstance(made, Artifact)
        return made

    @pytest.fixture(params=["reference", "candidate"])
    def session(
        self,
        request: pytest.FixtureRequest,
        plugin: Any,
        model: LoadedModel,
        artifact: Artifact,
        target: TargetSpec,
    ) -> Iterator[Any]:
        """Both kinds of session, one after the other."""
        if request.param == "reference":
            opened = plugin.open_reference(model, target=target)
        else:
            opened = plugin.open_candidate(artifact, model=model, target=target)
        with opened as session:
            yield session

    def threads_in_use(self, session: Any) -> int | None:  # noqa: ARG002 - for those who override
        """Threads that the runtime computes with; override where it can be asked."""
        return None

    def test_import_loads_no_framework(self) -> None:
        """Plans and lint list every backend."""
        assert loads_no_framework("backends", self.backend) == []

    def test_says_whether_it_works_here(self, target: TargetSpec) -> None:
        """None, or why not; with and without an engine."""
        plugin = plugins.load("backends", self.backend)
        assert plugin.name == self.backend
        assert_says_why(plugin.unavailable())
        assert_says_why(plugin.unavailable(target))

    def test_option_schema_is_closed(self) -> None:
        """A misspelt option is an error of the spec; the kit's own options are valid."""
        schema = plugins.load("backends", self.backend).options_schema
        assert_closed_object_schema(schema)
        jsonschema.validate(dict(self.target_options), schema)

    def test_environment_is_complete(self, plugin: Any, target: TargetSpec) -> None:
        """It names this machine and the runtime's version, and survives a file."""
        environment = plugin.environment(target)
        assert environment.backend == self.backend
        assert environment.threads == target.threads
        assert environment.engine
        assert environment.versions
        assert from_plain(Environment, to_plain(environment)) == environment

    def test_reference_gives_the_model_s_outputs(
        self, plugin: Any, model: LoadedModel, target: TargetSpec, inputs: TensorMap
    ) -> None:
        """The float network on this backend against plain torch."""
        import torch

        with torch.no_grad():
            expected = tiny_module()(torch.from_numpy(inputs[INPUT])).numpy()
        with plugin.open_reference(model, target=target) as session:
            outputs = session.run(inputs)
        assert list(outputs) == ["output"]
        assert outputs["output"].dtype == np.float32
        np.testing.assert_allclose(outputs["output"], expected, rtol=1e-4, atol=1e-5)

    def test_runs_any_batch_size(self, session: Any) -> None:
        """The last batch of a sample set is smaller."""
        for size in (1, 7):
            outputs = session.run(tiny_batches(1, size)[0])
            assert all(array.shape[0] == size for array in outputs.values())

    def test_same_input_same_output(self, session: Any, inputs: TensorMap) -> None:
        """Bit for bit, also after the caller has written into what it was given."""
        first = session.run(inputs)
        kept = {name: array.copy() for name, array in first.items()}
        for array in first.values():
            if array.flags.writeable:
                array[...] = -1.0
        for name, array in session.run(inputs).items():
            assert array.dtype == np.float32
            np.testing.assert_array_equal(array, kept[name])

    def test_leaves_its_inputs_alone(self, session: Any, inputs: TensorMap) -> None:
        """The reference and the candidate are given the same arrays."""
        before = inputs[INPUT].copy()
        session.run(inputs)
        list(session.capture(inputs, [r.capture for r in session.layers(inputs) if r.capture]))
        np.testing.assert_array_equal(inputs[INPUT], before)

    @pytest.mark.parametrize("fault", ["missing", "extra", "misnamed", "shape"])
    def test_refuses_wrong_inputs(self, session: Any, inputs: TensorMap, fault: str) -> None:
        """In the gate's own words, not with a stack of the runtime's."""
        bad = {
            "missing": {},
            "extra": {**inputs, "no_such_input": inputs[INPUT]},
            "misnamed": {"no_such_input": inputs[INPUT]},
            "shape": {INPUT: inputs[INPUT][:, :2]},
        }[fault]
        with pytest.raises(BackendError):
            session.run(bad)

    def test_layer_table_is_sound(self, session: Any, inputs: TensorMap) -> None:
        """Unique names, a batch axis in every shape, arithmetic where there is arithmetic."""
        rows = session.layers(inputs)
        assert duplicates([row.name for row in rows]) == []
        computing = [row for row in rows if row.computes]
        # two convolutions and two linear layers
        assert len(computing) == 4
        assert sum(row.params for row in rows) == 3 * 16 * 9 + 16 * 16 * 9 + 256 * 32 + 320
        pixels = SHAPE[1] * SHAPE[2]
        assert [row.macs for row in computing] == [432 * pixels, 2304 * pixels, 256 * 32, 320]
        for row in rows:
            assert row.outputs
            assert all(info.shape[0] == 5 for info in row.outputs)
            assert row.params_quantized <= row.params

    def test_layer_table_survives_a_file(self, session: Any, inputs: TensorMap) -> None:
        """Baselines hold it."""
        for row in session.layers(inputs):
            assert from_plain(LayerRow, to_plain(row)) == row

    def test_candidate_covers_reference_layers_once(
        self,
        plugin: Any,
        model: LoadedModel,
        artifact: Artifact,
        target: TargetSpec,
        inputs: TensorMap,
    ) -> None:
        """Fusion is spelt out with names of the reference; no reference layer is claimed twice, and
        every one that computes is claimed."""
        with plugin.open_reference(model, target=target) as session:
            reference = {row.name: row for row in session.layers(inputs)}
        with plugin.open_candidate(artifact, model=model, target=target) as session:
            rows = session.layers(inputs)
        claimed = [
            name
            for row in rows
            for name in row.covers or ((row.name,) if row.name in reference else ())
        ]
        assert set(claimed) <= set(reference)
        assert duplicates(claimed) == []
        assert {name for name, row in reference.items() if row.computes} <= set(claimed)

    def test_packed_bytes_count_the_weights(
        self, plugin: Any, model: LoadedModel, artifact: Artifact, target: TargetSpec
    ) -> None:
        """Where the runtime tells: more than the weights alone, and less for the candidate."""
        with plugin.open_reference(model, target=target) as session:
            reference = session.packed_bytes()
        with plugin.open_candidate(artifact, model=model, target=target) as session:
            candidate = session.packed_bytes()
        if reference is not None and candidate is not None:
            assert reference >= 4 * 11_248
            assert 11_248 <= candidate < reference / 2

    @pytest.mark.parametrize("threads", [1, 2])
    def test_threads_are_those_of_the_target(
        self,
        plugin: Any,
        model: LoadedModel,
        target: TargetSpec,
        inputs: TensorMap,
        threads: int,
    ) -> None:
        """As the environment says, and as the runtime says where it can be asked."""
        wanted = replace(target, threads=threads)
        assert plugin.environment(wanted).threads == threads
        with plugin.open_reference(model, target=wanted) as session:
            session.run(inputs)
            assert self.threads_in_use(session) in (None, threads)

    def test_refuses_a_damaged_candidate(
        self,
        plugin: Any,
        model: LoadedModel,
        artifact: Artifact,
        target: TargetSpec,
        tmp_path: Path,
    ) -> None:
        """A file cut short is an error of the gate's own."""
        content = artifact.path.read_bytes()
        damaged = replace(artifact, path=tmp_path / artifact.path.name)
        damaged.path.write_bytes(content[: len(content) // 2])
        with (
            pytest.raises(BackendError),
            plugin.open_candidate(damaged, model=model, target=target) as session,
        ):
            session.run(tiny_batches(1, 1)[0])
