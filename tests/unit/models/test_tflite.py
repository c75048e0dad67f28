"""LiteRT files are read to the last offset, and refused in words where they are not what they claim."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from gate.core.spec import InputSpec, ModelSpec
from gate.models.base import ModelError
from gate.models.tflite import TfliteFile
from gate.models.tflite_graph import read_tflite
from tests.unit import tflite_models as files


def spec(path, **options):
    return ModelSpec(
        id="m",
        task="other",
        source="tflite",
        options={"path": str(path), **options},
        inputs={"x": InputSpec(shape=("N", 4), dtype="float32")},
    )


def test_what_a_file_holds(tmp_path):
    graph = read_tflite(files.int8_linear(tmp_path / "m.tflite"))
    assert [op.op for op in graph.operators] == ["FULLY_CONNECTED", "SOFTMAX"]
    assert [graph.name_of(i) for i in (*graph.inputs, *graph.outputs)] == ["x", "output"]
    x, w, b = (graph.tensors[i] for i in graph.operators[0].inputs)
    assert (x.dtype, x.shape, x.dynamic) == ("int8", (1, 4), (True, False))
    assert x.scales == pytest.approx([files.IN_SCALE])
    assert x.zero_points == (files.IN_ZERO,)
    assert not x.constant
    assert (w.dtype, w.axis, w.constant, w.buffer_bytes) == ("int8", 0, True, 12)
    assert w.scales == pytest.approx(np.abs(files.WEIGHT).max(axis=1) / 127)
    assert (b.dtype, b.buffer_bytes) == ("int32", 12)


def test_a_file_cut_anywhere_is_refused_or_whole(tmp_path):
    content = files.int8_linear(tmp_path / "m.tflite").read_bytes()
    cut = tmp_path / "cut.tflite"
    refused = 0
    for length in range(0, len(content), 13):
        cut.write_bytes(content[:length])
        try:
            read_tflite(cut)
        except ModelError:
            refused += 1
    assert refused > 0.9 * len(range(0, len(content), 13))


def test_flipped_bytes_are_refused_or_read_but_never_another_error(tmp_path):
    content = files.float_linear(tmp_path / "m.tflite").read_bytes()
    draw = np.random.default_rng(0)
    bad = tmp_path / "bad.tflite"
    for _ in range(150):
        changed = bytearray(content)
        changed[int(draw.integers(8, len(content)))] ^= int(draw.integers(1, 256))
        bad.write_bytes(changed)
        try:
            read_tflite(bad)
        except ModelError:
            continue


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such LiteRT file"),
        (b"\x1c\0\0\0ONNXxxxx", "identifier is not TFL3"),
        (b"", "TFL3"),
    ],
)
def test_no_file_and_other_files_are_refused(tmp_path, content, words):
    path = tmp_path / "m.tflite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=words):
        read_tflite(path)


def test_a_tensor_that_is_not_there_is_refused(tmp_path):
    file = files.File()
    x, y = file.tensor("x", (1, 4)), file.tensor("y", (1, 4))
    file.operator(files.B.LOGISTIC, [99], [y])
    with pytest.raises(ModelError, match="names a tensor that is not there"):
        read_tflite(file.write(tmp_path / "m.tflite", [x], [y]))


def test_the_source_takes_a_file_whose_inputs_are_the_spec_s(tmp_path):
    path = files.float_linear(tmp_path / "m.tflite")
    loaded = TfliteFile().load(spec(path), seed=0)
    assert loaded.path == path
    assert loaded.size_bytes == path.stat().st_size
    again = TfliteFile().load(spec(path, sha256=loaded.sha256), seed=0)
    assert again.sha256 == loaded.sha256
    with pytest.raises(ModelError, match="SHA-256 is"):
        TfliteFile().load(spec(path, sha256="0" * 64), seed=0)


def test_the_source_refuses_other_inputs(tmp_path):
    path = files.float_linear(tmp_path / "m.tflite")
    other = replace(spec(path), inputs={"image": InputSpec(shape=("N", 4), dtype="float32")})
    with pytest.raises(ModelError, match="its inputs are x; the spec declares image"):
        TfliteFile().load(other, seed=0)
    wide = replace(spec(path), inputs={"x": InputSpec(shape=("N", 5), dtype="float32")})
    with pytest.raises(ModelError, match=r"has shape \[1, 4\], the spec says \['N', 5\]"):
        TfliteFile().load(wide, seed=0)
    renamed = replace(
        spec(path, inputs={"image": {"rename": "x"}}),
        inputs={"image": InputSpec(shape=("N", 4), dtype="float32")},
    )
    assert TfliteFile().load(renamed, seed=0).path == path
