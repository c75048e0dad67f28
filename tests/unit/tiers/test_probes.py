"""Hostile probes on a real int8 network, healthy and with faults that ordinary samples hardly show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper

from gate import plugins
from gate.core.artifact import Artifact
from gate.core.probes import ProbeObserved
from gate.core.spec import InputSpec
from gate.core.tensors import TensorMap
from gate.metrics.elementwise import is_finite, sqnr_db
from gate.tiers.probe_inputs import (
    Material,
    NoMeaningError,
    Range,
    borders,
    clipped,
    constant,
    denormals,
    extremes,
    ranges_of,
    resized,
    saturating,
    zeros,
)
from gate.tiers.probes import Sides, _batch_axis, compare, observe_probes
from tests.unit import onnx_models as om

SHAPE = (3, 48, 48)
INPUTS = {
    "image": InputSpec(
        shape=("N", 3, "H", "W"), dtype="float32", ranges={"H": (16, 96), "W": (16, 96)}
    )
}
NAMES = ("zeros", "constant", "denormals", "borders", "extremes", "saturating", "batch", "smallest")


@dataclass(frozen=True)
class Net:
    model: om.LoadedModel
    artifact: Artifact

    def run(self, path: Path, names=NAMES) -> tuple[float, Mapping[str, ProbeObserved]]:
        """SQNR on ordinary samples in dB, and the probes, of the file at ``path``."""
        backend = plugins.load("backends", "onnxruntime")
        target = om.target()
        with ExitStack() as stack:
            reference = stack.enter_context(backend.open_reference(self.model, target=target))
            artifact = replace(self.artifact, path=path)
            candidate = stack.enter_context(
                backend.open_candidate(artifact, model=self.model, target=target)
            )
            ordinary = om.images(32, seed=77, shape=SHAPE)
            errors = compare(reference.run(ordinary), candidate.run(ordinary))
            found = observe_probes(names, material(), sides(reference, candidate))
            return db(errors), {probe.name: probe for probe in found}


def material(**changes) -> Material:
    made = Material(
        samples=om.images(6, seed=5, shape=SHAPE),
        ranges=ranges_of(list(om.calibration(SHAPE))),
        inputs=INPUTS,
        seed=0,
    )
    return replace(made, **changes)


def sides(reference, candidate, **changes) -> Sides:
    made = Sides(
        reference=lambda: reference,
        candidate=candidate,
        batch=32,
        enter=lambda _probe, _side: None,
        crashed={},
    )
    return replace(made, **changes)


def db(errors) -> float:
    values = [sqnr_db(sums) for sums in errors.values()]
    assert None not in values
    return min(values)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Net:
    folder = tmp_path_factory.mktemp("probes")
    model = om.write(om.cnn, folder / "cnn.onnx", ["N", 3, "H", "W"])
    artifact = plugins.load("quantizers", "onnxruntime-static").quantize(
        model,
        calibration,
        options={},
        target=om.target(),
        seed=0,
        out_dir=folder,
    )
    return Net(model=model, artifact=artifact)


@pytest.fixture(scope="module")
def healthy(net: Net) -> tuple[float, Mapping[str, ProbeObserved]]:
    return net.run(net.artifact.path)


def calibration() -> Iterator[TensorMap]:
    """Ordinary samples, and a batch from the ends of their range: nothing clips that need not."""
    yield from om.calibration(SHAPE)
    yield extremes(material())


def edited(net: Net, edit) -> Path:
    proto = onnx.load(str(net.artifact.path))
    edit(proto)
    path = net.artifact.path.with_name(f"{edit.__name__}.onnx")
    onnx.save(proto, str(path))
    return path


def test_a_healthy_candidate_answers_every_probe(healthy) -> None:
    ordinary, found = healthy
    assert ordinary > 30
    assert tuple(found) == NAMES
    for probe in found.values():
        assert not probe.candidate_fault
        assert not probe.not_applicable
        assert is_finite(probe.outputs["output"])
        assert probe.detail
    assert all(db(found[name].outputs) > 20 for name in ("zeros", "denormals", "borders"))
    assert db(found["batch"].outputs) == db(found["batch"].own) == 200.0
    assert found["batch"].alone == {}
    assert "[2, 3, 16, 16]" in found["smallest"].detail


def pad_with_stored_zero(proto: ModelProto) -> None:
    """The first convolution pads with the stored value 0 where it should pad with the zero point."""
    stored = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    nodes = list(proto.graph.node)
    conv = next(n for n in nodes if n.name == "conv1")
    made = {n.output[0]: n for n in nodes}[conv.input[0]]
    value = -float(stored[made.input[2]]) * float(stored[made.input[1]])
    pads = next(a for a in conv.attribute if a.name == "pads")
    top, left, bottom, right = pads.ints
    proto.graph.initializer.append(
        numpy_helper.from_array(np.array([0, 0, top, left, 0, 0, bottom, right]), "pads")
    )
    proto.graph.initializer.append(numpy_helper.from_array(np.float32(value), "stored_zero"))
    padded = helper.make_node("Pad", [conv.input[0], "pads", "stored_zero"], ["padded"])
    proto.graph.node.insert(nodes.index(conv), padded)
    conv.input[0] = "padded"
    conv.attribute.remove(pads)


def wrong_alone(proto: ModelProto) -> None:
    """The answer is off by a fifth where a sample comes alone."""
    last = proto.graph.node[-1]
    name = last.output[0]
    last.output[0] = "before"
    constants = {"first": np.array([0]), "one": np.array([1]), "off": np.float32(1.2)}
    for key, value in {**constants, "right": np.float32(1)}.items():
        proto.graph.initializer.append(numpy_helper.from_array(np.asarray(value), key))
    proto.graph.node.extend(
        [
            helper.make_node("Shape", ["before"], ["shape"]),
            helper.make_node("Gather", ["shape", "first"], ["samples"]),
            helper.make_node("Equal", ["samples", "one"], ["alone"]),
            helper.make_node("Where", ["alone", "off", "right"], ["factor"]),
            helper.make_node("Mul", ["before", "factor"], [name]),
        ]
    )


def saturates_early(proto: ModelProto) -> None:
    """Sums of the first convolution end just above what ordinary samples reach."""
    nodes = list(proto.graph.node)
    conv = next(n for n in nodes if n.name == "conv1")
    out = conv.output[0]
    conv.output[0] = "sums"
    for key, value in (("least", -8.0), ("most", 8.0)):
        proto.graph.initializer.append(numpy_helper.from_array(np.float32(value), key))
    clip = helper.make_node("Clip", ["sums", "least", "most"], [out])
    proto.graph.node.insert(nodes.index(conv) + 1, clip)


def gives_nan_for_nothing(proto: ModelProto) -> None:
    """Divides by the largest input, as a dynamic scale does."""
    image = proto.graph.input[0].name
    last = proto.graph.node[-1]
    name = last.output[0]
    last.output[0] = "before"
    proto.graph.node.extend(
        [
            helper.make_node("Abs", [image], ["size"]),
            helper.make_node("ReduceMax", ["size"], ["largest"], keepdims=0),
            helper.make_node("Div", ["largest", "largest"], ["ratio"]),
            helper.make_node("Mul", ["before", "ratio"], [name]),
        ]
    )


@pytest.mark.parametrize(
    ("fault", "probe"),
    [
        (pad_with_stored_zero, "smallest"),
        (wrong_alone, "batch"),
        (saturates_early, "extremes"),
    ],
    ids=["padding", "batch", "saturation"],
)
def test_a_fault_that_ordinary_samples_hardly_show_is_seen(net, healthy, fault, probe) -> None:
    ordinary, found = net.run(edited(net, fault), (probe,))
    lost = db(healthy[1][probe].outputs) - db(found[probe].outputs)
    assert lost > 15.0
    assert lost > 1.5 * (healthy[0] - ordinary)


def wrong_alone_in_the_middle(proto: ModelProto) -> None:
    """The first convolution is off by a fifth where a sample comes alone."""
    conv = next(n for n in proto.graph.node if n.name == "conv1")
    readers = [n for n in proto.graph.node if conv.output[0] in n.input]
    name = conv.output[0]
    conv.output[0] = "before"
    for key, value in (("first", np.array([0])), ("one", np.array([1]))):
        proto.graph.initializer.append(numpy_helper.from_array(value, key))
    for key, factor in (("off", 1.2), ("right", 1.0)):
        proto.graph.initializer.append(numpy_helper.from_array(np.float32(factor), key))
    made = [
        helper.make_node("Shape", ["before"], ["shape"]),
        helper.make_node("Gather", ["shape", "first"], ["samples"]),
        helper.make_node("Equal", ["samples", "one"], ["alone"]),
        helper.make_node("Where", ["alone", "off", "right"], ["factor"]),
        helper.make_node("Mul", ["before", "factor"], [name]),
    ]
    place = list(proto.graph.node).index(readers[0])
    for node in reversed(made):
        proto.graph.node.insert(place, node)


def test_layers_that_answer_otherwise_alone_are_told_by_how_much(net: Net) -> None:
    _, found = net.run(edited(net, wrong_alone), ("batch",))
    last = {name: sqnr_db(sums) for name, sums in found["batch"].alone.items()}
    assert len(last) > 3
    # A factor of 1.2 is an error of a fifth: 14 dB, in what it stands behind and in nothing before.
    assert [name for name, value in last.items() if value < 200.0] == [list(last)[-1]]
    assert last[list(last)[-1]] == pytest.approx(20 * np.log10(1 / 0.2), abs=0.5)

    _, found = net.run(edited(net, wrong_alone_in_the_middle), ("batch",))
    middle = {name: sqnr_db(sums) for name, sums in found["batch"].alone.items()}
    assert sum(value < 20.0 for value in middle.values()) > 3


@pytest.mark.parametrize(
    ("whole", "one", "axis"),
    [
        ((6, 3, 8), (1, 3, 8), 0),
        ((5, 2, 6, 7), (5, 2, 1, 7), 2),  # recurrent cells: steps, directions, batch, channels
        ((6, 6), (1, 1), None),
        ((6, 8), (2, 8), None),
        ((4, 4), (4, 4), None),
        ((6, 8), (8,), None),
    ],
)
def test_the_axis_of_the_batch_is_told_by_the_shapes(
    whole: tuple[int, ...], one: tuple[int, ...], axis: int | None
) -> None:
    assert _batch_axis(whole, one) == axis


def test_nan_for_an_empty_input_is_recorded_beside_a_finite_reference(net: Net) -> None:
    ordinary, found = net.run(edited(net, gives_nan_for_nothing), ("zeros",))
    assert ordinary > 30
    assert found["zeros"].outputs["output"].nonfinite_candidate
    assert not found["zeros"].outputs["output"].nonfinite_reference


def test_who_refuses_is_told_apart(net: Net) -> None:
    fixed = om.write(om.cnn, net.artifact.path.with_name("fixed.onnx"), ["N", 3, 48, 48])
    backend, target = plugins.load("backends", "onnxruntime"), om.target()
    with (
        backend.open_reference(net.model, target=target) as free,
        backend.open_reference(fixed, target=target) as narrow,
    ):
        by_sides = {
            name: next(iter(observe_probes(["smallest"], material(), sides(x, y))))
            for name, (x, y) in {
                "candidate": (free, narrow),
                "reference": (narrow, free),
                "both": (narrow, narrow),
            }.items()
        }
    assert "INVALID_ARGUMENT" in by_sides["candidate"].candidate_fault
    assert by_sides["reference"].reference_fault
    assert not by_sides["reference"].candidate_fault
    assert by_sides["both"].refused_by_both


class Other:
    """A session whose answers are given."""

    def __init__(self, answer):
        self.run = answer


def test_a_known_crash_is_not_tried_again_and_is_the_candidates_fault() -> None:
    def answer(inputs):
        return {"output": inputs["image"].mean(axis=(2, 3))}

    def never(_inputs):
        raise AssertionError("it was run")

    crashed = {("zeros", "candidate"): "the worker was ended by SIGSEGV"}
    (seen,) = observe_probes(
        ["zeros"], material(), sides(Other(answer), Other(never), crashed=crashed)
    )
    assert seen.candidate_fault == "the worker was ended by SIGSEGV"


def test_other_shapes_and_missing_outputs_are_the_candidates_fault() -> None:
    def answer(inputs):
        return {"a": inputs["image"].mean(axis=(2, 3)), "b": inputs["image"]}

    def other(inputs):
        return {"a": inputs["image"].mean(axis=(1, 2, 3)), "b": inputs["image"]}

    (seen,) = observe_probes(["zeros"], material(), sides(Other(answer), Other(other)))
    assert "output 'a' has shape [2], expected [2, 3]" in seen.candidate_fault
    (seen,) = observe_probes(
        ["zeros"], material(), sides(Other(answer), Other(lambda i: {"a": answer(i)["a"], "c": 1}))
    )
    assert "no output 'b'" in seen.candidate_fault


def test_a_layout_is_probed_where_the_backend_has_more_than_one() -> None:
    import torch

    from gate.backends._torch_session import TorchSession

    class Leaky(torch.nn.Module):
        def forward(self, image):
            wrong = image.is_contiguous(memory_format=torch.channels_last)
            return image.mean(dim=(2, 3)) * (0.0 if wrong else 1.0)

    def opened(module):
        return TorchSession(module, reference=None, inputs=INPUTS, engine="x86", threads=1)

    fine = opened(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten()))
    (same,) = observe_probes(["channels_last"], material(), sides(fine, fine))
    assert db(same.outputs) > 100
    leaky = opened(Leaky())
    (seen,) = observe_probes(["channels_last"], material(), sides(leaky, leaky))
    assert db(seen.outputs) == db(seen.own) == pytest.approx(0.0)
    (none,) = observe_probes(["channels_last"], material(), sides(Other(None), Other(None)))
    assert "one order of memory" in none.not_applicable


def test_inputs_are_what_they_are_called() -> None:
    made = material(ranges={"image": Range(low=-2.0, high=3.0)})
    assert not zeros(made)["image"].any()
    levels = constant(made)["image"]
    assert [float(row.min()) for row in levels] == [-2.0, -0.75, 0.5, 1.75, 3.0]
    assert [float(row.max()) for row in levels] == [-2.0, -0.75, 0.5, 1.75, 3.0]
    assert set(np.unique(extremes(made)["image"])) == {-2.0, 3.0}
    small = denormals(made)["image"]
    assert (small != 0).all()
    assert np.abs(small).max() < np.finfo(np.float32).tiny
    frames = borders(made)["image"]
    assert [int((row[0] == 3.0).sum()) for row in frames] == [1] * 4 + [48] * 4 + [188]
    assert (frames[:, :, 1:-1, 1:-1] == 0.0).all()
    assert saturating(made)["image"].max() == 4 * made.samples["image"].max()
    assert clipped(saturating(made), made, 1.0)["image"].max() == 3.0
    assert resized(made, largest=True)["image"].shape == (2, 3, 96, 96)
    for value in (levels, small, frames):
        assert value.dtype == np.float32


def test_names_of_things_are_chosen_among_and_never_invented() -> None:
    rng = np.random.default_rng(0)
    tokens = rng.integers(5, 90, size=(6, 12))
    made = Material(
        samples={"tokens": tokens},
        ranges=ranges_of([{"tokens": tokens}]),
        inputs={"tokens": InputSpec(shape=("N", "T"), dtype="int64")},
        seed=0,
    )
    ends = {tokens.min(), tokens.max()}
    assert set(np.unique(extremes(made)["tokens"])) == ends
    assert set(np.unique(constant(made)["tokens"])) == ends
    for probe in (saturating, denormals, borders, lambda m: resized(m, largest=True)):
        with pytest.raises(NoMeaningError):
            probe(made)


def test_bytes_go_to_the_ends_of_their_type() -> None:
    image = np.full((6, 3, 4, 4), 100, dtype=np.uint8)
    made = Material(
        samples={"image": image},
        ranges=ranges_of([{"image": image}]),
        inputs={"image": InputSpec(shape=("N", 3, 4, 4), dtype="uint8")},
        seed=0,
    )
    assert set(np.unique(extremes(made)["image"])) == {0, 255}
    assert borders(made)["image"].dtype == np.uint8
