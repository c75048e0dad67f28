"""A layer's own error, told from what it was handed: on chains of functions and on real runtimes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from gate.backends.base import BackendError
from gate.backends.isolation import Isolation, Operand
from gate.core.artifact import Artifact, Format
from gate.core.tensors import TensorMap
from gate.metrics.elementwise import sqnr_db
from gate.models.base import LoadedModel
from gate.plugins import load
from gate.testing.tiny import INPUT, target_for, tiny_batches, tiny_model
from gate.tiers.layers import LayersSeen, observe_layers
from tests.bench.localisation_faults import channel_lost, plant, scale_up, weighted, zero_point
from tests.unit.tiers.test_layers import STEPS, Chain, Floats, Step, noisy, observe


def isolated(seen: LayersSeen) -> dict[str, float | None]:
    return {
        m.candidate: sqnr_db(m.isolated) if m.isolated is not None else None
        for m in seen.layers.matches
    }


def test_only_the_layer_that_errs_has_an_isolated_error() -> None:
    other = [(n, noisy(step, 0.1) if n == "b" else step) for n, step in STEPS]
    seen = observe(Chain(STEPS), Chain(other))
    cumulative = {m.candidate: sqnr_db(m.errors) for m in seen.layers.matches if m.errors}
    assert isolated(seen)["a"] == isolated(seen)["c"] == 200.0
    assert isolated(seen)["b"] == pytest.approx(20.0, abs=1e-3)
    assert cumulative["c"] < 25.0
    assert seen.notes == ()


def test_sums_run_over_all_samples_in_all_batches() -> None:
    data = np.random.default_rng(1).standard_normal((37, 3, 2, 2)).astype(np.float32)
    seen = observe(Chain(STEPS), Chain([(n, noisy(s, 0.01)) for n, s in STEPS]), data)
    assert all(m.isolated is not None for m in seen.layers.matches)
    assert {m.isolated.elements for m in seen.layers.matches if m.isolated} == {data.size}


def test_a_candidate_with_channels_last_is_fed_in_its_own_layout() -> None:
    def to_last(x: Floats) -> Floats:
        return (x * np.float32(2)).transpose(0, 2, 3, 1)

    def shift(x: Floats) -> Floats:
        assert x.shape[-1] == 3
        return x + np.arange(3, dtype=np.float32)  # along the channels

    reference = [
        ("a", STEPS[0][1]),
        ("b", lambda x: x + np.arange(3, dtype=np.float32)[:, None, None]),
    ]
    seen = observe(Chain(reference), Chain([("a", to_last), ("b", shift)]))
    assert isolated(seen) == {"a": 200.0, "b": 200.0}


class Odd(Chain):
    """A candidate whose layer b cannot be run alone, in a way that a test chooses."""

    def __init__(self, why: str | Callable[[Floats], Floats], operand: Operand) -> None:
        super().__init__(STEPS)
        self.why, self.operand = why, operand

    def isolate(self, inputs: TensorMap) -> Isolation:
        whole = dict(super().isolate(inputs).pieces)
        whole["b"] = self.why if isinstance(self.why, str) else Step(self.why, self.operand)
        return Isolation(pieces=whole)


def _refuses(x: Floats) -> Floats:
    raise BackendError("no kernel")


@pytest.mark.parametrize(
    ("candidate", "told"),
    [
        (Odd("it is two layers in one", Operand(layer="a")), "it is two layers in one"),
        (Odd(_refuses, Operand(layer="a")), "no kernel"),
        (Odd(lambda x: x[:, :2], Operand(layer="a")), "shape [10, 2, 4, 5]"),
        (Odd(lambda x: x, Operand(layer="elsewhere")), "no reference layer stands for"),
    ],
)
def test_what_cannot_be_run_alone_is_said_and_has_no_errors(candidate: Chain, told: str) -> None:
    seen = observe(Chain(STEPS), candidate)
    match = seen.layers.matches[1]
    assert match.isolated is None
    assert match.errors is not None
    assert told in match.why_not_isolated
    assert any("not run alone: b" in note and told in note for note in seen.notes)
    assert seen.layers.matches[2].isolated is not None


def test_a_backend_that_cannot_cut_says_so() -> None:
    class Plain:
        def __init__(self, chain: Chain) -> None:
            self.layers, self.capture, self.run = chain.layers, chain.capture, chain.run

    seen = observe(Chain(STEPS), Plain(Chain(STEPS)))  # type: ignore[arg-type]
    assert all(m.isolated is None for m in seen.layers.matches)
    assert any("a, b, c: the backend cannot run single layers" in note for note in seen.notes)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> tuple[LoadedModel, Artifact]:
    folder = tmp_path_factory.mktemp("network")
    model = tiny_model(Format.ONNX, folder)
    candidate = load("quantizers", "onnxruntime-static").quantize(
        model,
        lambda: iter(tiny_batches()),
        options={},
        target=target_for("onnxruntime"),
        seed=0,
        out_dir=tmp_path_factory.mktemp("candidate"),
    )
    return model, candidate


def run(model: LoadedModel, artifact: Artifact) -> LayersSeen:
    backend, target = load("backends", "onnxruntime"), target_for("onnxruntime")
    images = tiny_batches(1, 8, seed=5)[0][INPUT]
    with (
        backend.open_reference(model, target=target) as reference,
        backend.open_candidate(artifact, model=model, target=target) as candidate,
    ):
        return observe_layers(
            reference,
            candidate,
            sample={INPUT: images[:2]},
            batches=lambda size: ({INPUT: images[i : i + size]} for i in range(0, 8, size)),
            tick=lambda _: None,
        )


@pytest.mark.parametrize("fault", [zero_point, channel_lost, scale_up])
def test_a_planted_fault_shows_in_its_own_layer_alone(
    network: tuple[LoadedModel, Artifact], tmp_path: Path, fault: Any
) -> None:
    model, artifact = network
    whole = onnx.load_model(str(artifact.path))
    nodes = weighted(whole)
    healthy = isolated(run(model, artifact))
    assert len(nodes) == 4
    assert min(value for value in healthy.values() if value is not None) > 25.0
    for node in nodes:
        onnx.save_model(plant(whole, fault, node), str(tmp_path / "broken.onnx"))
        seen = run(model, replace(artifact, path=tmp_path / "broken.onnx"))
        now = isolated(seen)
        worse = {n for n, value in now.items() if value is not None and value < healthy[n] - 1.0}
        (broken,) = worse
        later = list(now)[list(now).index(broken) :]
        cumulative = {m.candidate: sqnr_db(m.errors) for m in seen.layers.matches if m.errors}
        assert cumulative[later[-1]] < healthy[later[-1]] - 1.0, "the fault reaches the output"
