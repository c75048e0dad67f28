"""Float weights that a LiteRT file keeps beside its stored ones."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from gate.backends._litert_kept import kept
from gate.backends._litert_session import Source
from gate.backends.kept_float import TellingSession
from gate.backends.litert import LiteRtSession
from gate.models.tflite_graph import read_tflite
from tests.unit import tflite_models as files

RANDOM = np.random.default_rng(3)
WEIGHT = RANDOM.normal(size=(16, 16)).astype(np.float32)
SCALE = np.abs(WEIGHT).max(axis=1) / 127


def written(path: Path, *, extra: np.ndarray | None, read: bool = False) -> Path:
    """An int8 product, with ``extra`` in float in the file, and a float product with it where ``read``."""
    file = files.File()
    x = file.tensor("x", (1, 16), "int8", scale=0.05)
    w = file.tensor("w", (16, 16), "int8", value=np.rint(WEIGHT / SCALE[:, None]), scale=SCALE)
    outputs = [file.tensor("y", (1, 16), "int8", scale=0.1)]
    file.linear([x, w, -1], outputs[0])
    ends = [x]
    if extra is not None:
        left = file.tensor("left", extra.shape, value=extra)
        if read:
            ends.append(file.tensor("f", (1, 16)))
            outputs.append(file.tensor("g", (1, 16)))
            file.linear([ends[1], left, -1], outputs[1])
    return file.write(path, ends, outputs)


@pytest.mark.parametrize(
    ("extra", "read", "expected"),
    [
        (None, False, []),
        (RANDOM.normal(size=(16, 16)), True, []),
        (RANDOM.normal(size=(16, 16)), False, [("left", 1024, "", True)]),
        (WEIGHT, False, [("left", 1024, "w", True)]),
        (WEIGHT, True, [("left", 1024, "w", False)]),
        (RANDOM.normal(size=(4, 4)), False, []),  # too small to be told from a table of scales
    ],
)
def test_what_is_unread_or_equals_a_stored_weight(
    tmp_path: Path, extra: np.ndarray | None, read: bool, expected: list
) -> None:
    graph = read_tflite(written(tmp_path / "m.tflite", extra=extra, read=read))
    assert [(k.name, k.size_bytes, k.stored, k.unread) for k in kept(graph)] == expected


@pytest.mark.parametrize("make", [files.float_linear, files.int8_linear])
def test_a_session_tells(tmp_path: Path, make) -> None:
    path = make(tmp_path / "m.tflite")
    session = LiteRtSession(Source(path=path, threads=1, kernels="xnnpack"))
    assert isinstance(session, TellingSession)
    assert session.kept_float() == ()
