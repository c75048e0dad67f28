from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gate.backends.isolation import Isolation, Operand, Saved
from gate.core.layer import LayerRow, TensorInfo
from gate.core.tensors import TensorMap
from gate.metrics.elementwise import sqnr_db
from gate.tiers.layers import CAPTURE_BATCH, LayersSeen, capture_batch, observe_layers
from gate.tiers.layout import choose
from gate.tiers.tensors import CHANNELS, channel_axis

Floats = NDArray[np.float32]
Layer = tuple[str, Callable[[Floats], Floats]]


class Step:
    """A layer of a chain by itself."""

    def __init__(self, step: Callable[[Floats], Floats], operand: Operand) -> None:
        self.step = step
        self.operands = (operand,)

    def run(self, operands: Sequence[Floats]) -> Floats:
        return self.step(operands[0])

    def save(self, folder: Path, operands: Sequence[Floats]) -> Saved:
        raise NotImplementedError  # observing errors saves nothing: a call is a fault


class Chain:
    """A session of layers one after the other; captures are made when they are asked for."""

    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        order: Sequence[str] | None = None,
        covers: Mapping[str, tuple[str, ...]] = {},
    ) -> None:
        self.steps = list(layers)
        self.order = order
        self.covers = covers
        self.silent: set[str] = set()
        self.runs = 0

    def layers(self, inputs: TensorMap) -> tuple[LayerRow, ...]:
        rows = []
        for name, value in self._values(inputs):
            info = TensorInfo(shape=value.shape, dtype="float32")
            rows.append(
                LayerRow(
                    name=name,
                    op="Conv",
                    computes=True,
                    quantized=False,
                    inputs=(info,),
                    outputs=(info,),
                    covers=self.covers.get(name, ()),
                    capture=f"tap:{name}",
                )
            )
        return tuple(rows)

    def capture(self, inputs: TensorMap, names: Sequence[str]) -> Iterator[tuple[str, Floats]]:
        self.runs += 1
        values = self._values(inputs)
        if self.order is not None:
            kept = dict(values)
            values = iter([(name, kept[name]) for name in self.order])
        for name, value in values:
            if f"tap:{name}" in names and name not in self.silent:
                yield f"tap:{name}", value

    def run(self, inputs: TensorMap) -> dict[str, Floats]:
        return {"output": list(self._values(inputs))[-1][1]}

    def packed_bytes(self) -> None:
        return None

    def isolate(self, inputs: TensorMap) -> Isolation:
        names = [None, *(name for name, _ in self.steps)]
        return Isolation(
            pieces={
                name: Step(step, Operand(layer=before) if before else Operand(input="x"))
                for before, (name, step) in zip(names, self.steps, strict=False)
            }
        )

    def _values(self, inputs: TensorMap) -> Iterator[tuple[str, Floats]]:
        value = inputs["x"]
        for name, step in self.steps:
            value = step(value)
            yield name, value


def noisy(step: Callable[[Floats], Floats], scale: float) -> Callable[[Floats], Floats]:
    return lambda x: (step(x) * np.float32(1 + scale)).astype(np.float32)


STEPS: list[Layer] = [
    ("a", lambda x: x * np.float32(2)),
    ("b", lambda x: x - np.float32(1)),
    ("c", lambda x: x * x),
]
DATA = np.random.default_rng(0).standard_normal((10, 3, 4, 5)).astype(np.float32)


def observe(reference: Chain, candidate: Chain, data: Floats = DATA) -> LayersSeen:
    return observe_layers(
        reference,
        candidate,
        sample={"x": data[:2]},
        batches=lambda size: ({"x": data[i : i + size]} for i in range(0, len(data), size)),
        tick=lambda _done: None,
    )


def test_errors_are_those_of_each_layer_over_all_samples() -> None:
    other = [(name, noisy(step, 0.01)) for name, step in STEPS]
    seen = observe(Chain(STEPS), Chain(other)).layers
    assert seen.samples == 10
    assert [m.candidate for m in seen.matches] == ["a", "b", "c"]
    x = y = DATA
    for match, (_, step), (_, changed) in zip(seen.matches, STEPS, other, strict=True):
        x, y = step(x), changed(y)
        assert match.errors is not None
        assert match.errors.elements == x.size
        assert match.errors.channel_axis == 1
        assert len(match.errors.channel_sum_x) == 3
        noise = np.sqrt(np.sum((x.astype(float) - y) ** 2))
        expected = 20 * np.log10(np.sqrt(np.sum(x.astype(float) ** 2)) / noise)
        assert sqnr_db(match.errors) == pytest.approx(expected, rel=1e-6)


def test_a_fused_layer_is_compared_with_the_last_that_it_covers() -> None:
    fused: list[Layer] = [("a", STEPS[0][1]), ("b", lambda x: (x - np.float32(1)) ** 2)]
    seen = observe(Chain(STEPS), Chain(fused, covers={"b": ("b", "c")}))
    match = seen.layers.matches[1]
    assert match.reference == ("b", "c")
    assert match.errors is not None
    assert match.errors.sum_err2 == 0.0
    assert seen.notes == ()


def test_another_order_of_execution_is_followed() -> None:
    seen = observe(Chain(STEPS), Chain(STEPS, order=["c", "a", "b"])).layers
    assert all(m.errors is not None and m.errors.sum_err2 == 0.0 for m in seen.matches)


@pytest.mark.parametrize("side", ["reference", "candidate"])
def test_an_output_that_never_comes_is_named_and_has_no_errors(side: str) -> None:
    pair = {"reference": Chain(STEPS), "candidate": Chain(STEPS)}
    pair[side].silent.add("b")
    seen = observe(pair["reference"], pair["candidate"])
    errors = {m.candidate: m.errors for m in seen.layers.matches}
    assert errors["b"] is None
    assert errors["a"] is not None
    assert errors["c"] is not None
    assert any("did not give: b" in note for note in seen.notes)


def test_an_output_that_comes_in_one_batch_only_has_no_errors() -> None:
    large = np.zeros((CAPTURE_BATCH + 1, 3), np.float32)
    candidate = Chain(STEPS)

    class Tired(Chain):
        def capture(self, inputs: TensorMap, names: Sequence[str]) -> Iterator[tuple[str, Floats]]:
            if self.runs:
                self.silent.add("c")
            return super().capture(inputs, names)

    candidate = Tired(STEPS)
    seen = observe(Chain(STEPS), candidate, large)
    assert candidate.runs == 2
    assert seen.layers.matches[2].errors is None


def test_another_shape_has_no_errors_and_is_told() -> None:
    other: list[Layer] = [*STEPS[:2], ("c", lambda x: x[:, :2])]
    seen = observe(Chain(STEPS), Chain(other))
    assert seen.layers.matches[2].errors is None
    assert any("'c' not compared" in n and "[10, 2, 4, 5]" in n for n in seen.notes)


def test_channels_last_is_recognised_where_the_shapes_prove_it() -> None:
    last: list[Layer] = [("a", lambda x: (x * np.float32(2)).transpose(0, 2, 3, 1))]
    seen = observe(Chain(STEPS[:1]), Chain(last)).layers
    errors = seen.matches[0].errors
    assert errors is not None
    assert errors.sum_err2 == 0.0


def test_a_transposed_image_is_not_taken_for_another_layout() -> None:
    x = np.zeros((2, 8, 8, 4))
    assert choose(x, x.transpose(0, 1, 3, 2))[0] is None
    assert choose(x, np.zeros((2, 8, 8, 5)))[0] is None
    first = np.zeros((2, 3, 8, 8))
    last = first.transpose(0, 2, 3, 1)
    for reference, candidate in ((first, last), (last, first)):
        layout, _ = choose(reference, candidate)
        assert layout is not None
        assert layout.apply(candidate, reference.shape).shape == reference.shape


def test_where_layers_give_nhwc_channels_are_last() -> None:
    class Last(Chain):
        channels_last = True

    other = [(name, noisy(step, 0.01)) for name, step in STEPS]
    for match in observe(Last(STEPS), Last(other)).layers.matches:
        assert match.errors is not None
        assert match.errors.channel_axis == 3
        assert len(match.errors.channel_sum_x) == 5


def test_channel_axes() -> None:
    shapes = [(), (5,), (5, 3), (5, 7, 3), (5, 3, 7, 7), (5, 3, 7, 7, 7)]
    assert [channel_axis(shape) for shape in shapes] == [None, None, 1, 2, 1, 1]
    assert [channel_axis(shape, last=True) for shape in shapes] == [None, None, 1, 2, 3, 4]
    assert channel_axis((2, CHANNELS)) == 1
    assert channel_axis((2, CHANNELS + 1)) is None


def test_the_batch_shrinks_with_the_activations() -> None:
    def rows(elements: int) -> list[LayerRow]:
        (row,) = Chain(STEPS[:1]).layers({"x": np.zeros((2, elements), np.float32)})
        return [row]

    assert capture_batch(rows(10), 2) == CAPTURE_BATCH
    assert capture_batch(rows(2**20), 2) == 16
    assert capture_batch(rows(2**22), 2) == 4
    assert capture_batch(rows(2**26), 2) == 1


def test_memory_is_that_of_one_layer_not_of_all() -> None:
    """Forty layers of 1 MiB a sample: all activations of one side would be 40 MiB and more."""
    deep: list[Layer] = [(f"l{i}", lambda x: x + np.float32(1)) for i in range(40)]
    data = np.zeros((4, 4, 256, 256), np.float32)
    tracemalloc.start()
    try:
        seen = observe(Chain(deep), Chain(deep), data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len([m for m in seen.layers.matches if m.errors is not None]) == 40
    # One sample a run; the input and the output of a layer a side, and blocks in float64.
    assert peak < 12 * 2**20
