"""Faults in quantized torch states: restored by the quantizer itself, run by the backend."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gate.backends.base import BackendError
from gate.core.artifact import Artifact, Format
from gate.core.spec import TargetSpec
from gate.core.tensors import Array, TensorMap
from gate.drill.base import NotHere
from gate.drill.catalogue import FAULTS
from gate.drill.plant import Planted, plant
from gate.drill.torch_state import StateEdit, state_weights
from gate.plugins import load
from gate.spec.load import load_specs
from gate.spec.matrix import plan

SPECS = Path(__file__).parents[3] / "specs"
TARGET = TargetSpec(
    name="t", backend="torch", threads=1, dedicated=False, options={"engine": "x86"}
)

WEIGHTS = [
    "scale_x1_05", "scales_shuffled", "scale_of_one_channel", "wrong_axis", "channel_zeroed",
    "channel_negated", "weight_transposed", "int4", "per_tensor", "bias_dropped", "bias_scaled",
    "channels_swapped", "kernel_flipped", "weight_zero_point_off", "weight_scale_nan",
    "bn_folded_twice", "bn_folded_wrong_axis", "layers_swapped",
]  # fmt: skip
RANGES = ["range_halved", "range_x8", "rounding_truncates"]
RECURRENT = [
    "scale_x1_05", "scale_of_one_channel", "channel_zeroed", "channel_negated", "int4",
    "bias_dropped", "bias_scaled", "channels_swapped", "weight_zero_point_off", "gates_reordered",
]  # fmt: skip


class Made:
    """A quantized network of the shipped specs."""

    def __init__(self, spec: str, case: str, folder: Path) -> None:
        (self.case,) = plan(load_specs([str(SPECS / spec)]), [case]).cases
        model = self.case.model
        self.native = load("sources", model.source).load(model, seed=0)
        (self.input,) = model.inputs
        self.artifact: Artifact = load("quantizers", self.case.quantization.method).quantize(
            self.native,
            self.batches,
            options=self.case.quantization.options,
            target=TARGET,
            seed=0,
            out_dir=folder,
        )

    def batches(self) -> Iterator[TensorMap]:
        yield self.inputs(16)

    def inputs(self, count: int) -> TensorMap:
        shape = [int(n) for n in self.case.model.inputs[self.input].shape[1:]]
        random = np.random.default_rng(4)
        return {self.input: random.random((count, *shape), np.float32)}

    def outputs(self, artifact: Artifact) -> list[Array]:
        opened = load("backends", "torch").open_candidate(
            artifact, model=self.native, target=TARGET
        )
        with opened as session:
            return [value for n in (8, 1) for value in session.run(self.inputs(n)).values()]

    def planted(self, name: str, folder: Path) -> Planted:
        return plant(
            FAULTS[name],
            self.artifact,
            rng=np.random.default_rng(2),
            out_dir=folder,
            outputs=self.outputs,
            stopped=(BackendError,),
        )


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made("digits_cnn.yaml", "*torch-static@torch-x86", tmp_path_factory.mktemp("static"))


@pytest.fixture(scope="module")
def recurrent(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made("digits_lstm.yaml", "*torch-dynamic@torch-x86", tmp_path_factory.mktemp("dynamic"))


def _codes(artifact: Artifact) -> dict[str, list[Array]]:
    content: dict[str, Any] = torch.load(artifact.path, weights_only=True)
    edit = StateEdit(content)
    found: dict[str, list[Array]] = {}
    for weight in state_weights(edit):
        found.setdefault(weight.layer, []).append(weight.real(edit))
    return found


def _check(made: Made, name: str, folder: Path) -> Planted:
    done = made.planted(name, folder)
    before, after = _codes(made.artifact), _codes(done.artifact)
    assert before.keys() == after.keys()
    named = {done.injection.layer, *done.injection.also}
    assert named & before.keys()
    for layer in before.keys() - named:
        assert all(map(np.array_equal, before[layer], after[layer])), layer
    pairs = zip(made.outputs(made.artifact), made.outputs(done.artifact), strict=True)
    assert any(x.tobytes() != y.tobytes() for x, y in pairs)
    # What is judged as the size must not change with the way that the file was written.
    assert (
        abs(done.artifact.size_bytes - made.artifact.size_bytes) < 0.01 * made.artifact.size_bytes
    )
    return done


@pytest.mark.parametrize("name", WEIGHTS + RANGES)
def test_fault_of_a_static_candidate(name: str, static: Made, tmp_path: Path) -> None:
    _check(static, name, tmp_path)


@pytest.mark.parametrize("name", RECURRENT)
def test_fault_of_a_dynamic_recurrent_candidate(name: str, recurrent: Made, tmp_path: Path) -> None:
    _check(recurrent, name, tmp_path)


def test_a_halved_range_is_halved_though_codes_of_seven_bits_leave_room(
    static: Made, tmp_path: Path
) -> None:
    """Kernels cut off at 255: half the scale alone would be a finer grid, and no fault."""
    assert static.artifact.options["reduce_range"] is True
    done = static.planted("range_halved", tmp_path)
    before, after = (
        torch.load(a.path, weights_only=True)["state"] for a in (static.artifact, done.artifact)
    )
    key = f"{done.injection.layer}.scale"
    assert 255 * float(after[key]) == pytest.approx(0.5 * 127 * float(before[key]), rel=0.01)


def test_float_weights_make_the_file_larger_alone(static: Made, tmp_path: Path) -> None:
    done = static.planted("float_weights_kept", tmp_path)
    assert done.artifact.size_bytes > 2 * static.artifact.size_bytes
    pairs = zip(static.outputs(static.artifact), static.outputs(done.artifact), strict=True)
    assert all(np.array_equal(x, y) for x, y in pairs)
    backend = load("backends", "torch")
    told = []
    for artifact in (static.artifact, done.artifact):
        with backend.open_candidate(artifact, model=static.native, target=TARGET) as session:
            told.append(session.kept_float())
    assert told[0] == ()
    assert sum(one.size_bytes for one in told[1]) > static.artifact.size_bytes
    assert all(one.unread and one.stored for one in told[1])


@pytest.mark.parametrize("name", ["zero_point_off_by_1", "padding_with_zero", "layer_in_float"])
def test_what_a_state_has_no_place_for(name: str, static: Made, tmp_path: Path) -> None:
    with pytest.raises(NotHere, match="torch-quantized"):
        static.planted(name, tmp_path)


def test_dynamic_layers_store_no_result(recurrent: Made, tmp_path: Path) -> None:
    with pytest.raises(NotHere):
        recurrent.planted("range_halved", tmp_path)


def test_other_formats_are_refused(static: Made, tmp_path: Path) -> None:
    file = Artifact(
        format=Format.EXPORTED, path=tmp_path / "m.pt2", sha256="0", size_bytes=0, producer="x"
    )
    with pytest.raises(NotHere, match="exported"):
        plant(
            FAULTS["int4"],
            file,
            rng=np.random.default_rng(0),
            out_dir=tmp_path,
            outputs=static.outputs,
        )
