"""The part of the backends' conformance kit about layers: streamed, and run alone or side by side."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from gate.backends.base import ConcurrentBackend
from gate.backends.isolation import IsolatingSession
from gate.core.artifact import Artifact
from gate.core.spec import TargetSpec
from gate.core.tensors import TensorMap
from gate.models.base import LoadedModel


class CaptureKit:
    """What the layers tier relies on; the fixtures are those of ``BackendKit``."""

    def test_capture_streams_what_the_table_says(self, session: Any, inputs: TensorMap) -> None:
        """Every name, in the table's order, float32, with the shape of the table."""
        rows = [row for row in session.layers(inputs) if row.capture is not None]
        names = [row.capture for row in rows]
        assert any(row.computes for row in rows)
        shapes = []
        for name, array in session.capture(inputs, names):
            assert array.dtype == np.float32
            shapes.append((name, array.shape))
        assert shapes == [(row.capture, row.outputs[0].shape) for row in rows]

    def test_captured_arrays_stay_what_they_were(self, session: Any, inputs: TensorMap) -> None:
        """Later layers that work in place do not reach back into them."""
        names = [row.capture for row in session.layers(inputs) if row.capture is not None]
        kept, copies = [], []
        for _, array in session.capture(inputs, names):
            kept.append(array)
            copies.append(array.copy())
        for array, copy in zip(kept, copies, strict=True):
            np.testing.assert_array_equal(array, copy)

    def test_capture_computes_what_run_computes(self, session: Any, inputs: TensorMap) -> None:
        """The output of the network is among the captured layers, to the last bit."""
        names = [row.capture for row in session.layers(inputs) if row.capture is not None]
        expected = session.run(inputs)["output"]
        captured = [array for _, array in session.capture(inputs, names)]
        assert any(a.shape == expected.shape and np.array_equal(a, expected) for a in captured)

    def test_capture_leaves_out_unknown_names(self, session: Any, inputs: TensorMap) -> None:
        """Absent, which the caller notices; nothing is made up."""
        assert list(session.capture(inputs, ["no such layer"])) == []

    def test_capture_can_be_left_early(self, session: Any, inputs: TensorMap) -> None:
        """No thread stays behind and the session still works."""
        names = [row.capture for row in session.layers(inputs) if row.capture is not None]
        expected = session.run(inputs)["output"]
        before = threading.active_count()
        for _ in range(3):
            stream = session.capture(inputs, names)
            next(stream)
            stream.close()
        assert threading.active_count() == before
        np.testing.assert_array_equal(session.run(inputs)["output"], expected)

    def test_two_threads_at_once_get_what_one_gets(
        self, plugin: Any, session: Any, inputs: TensorMap
    ) -> None:
        """Where the backend says that its sessions allow it, tiers run side by side."""
        if not isinstance(plugin, ConcurrentBackend):
            # Settings of the whole process: the engine then takes one tier after the other.
            pytest.skip("the backend does not run two models at once")
        names = [row.capture for row in session.layers(inputs) if row.capture is not None]
        expected = session.run(inputs)["output"]
        captured = dict(session.capture(inputs, names))
        with ThreadPoolExecutor(2) as pool:
            for _ in range(20):
                layers = pool.submit(lambda: dict(session.capture(inputs, names)))
                np.testing.assert_array_equal(session.run(inputs)["output"], expected)
                for name, array in layers.result().items():
                    np.testing.assert_array_equal(array, captured[name])

    def test_a_layer_alone_computes_what_it_computes_in_place(
        self,
        plugin: Any,
        model: LoadedModel,
        artifact: Artifact,
        target: TargetSpec,
        inputs: TensorMap,
    ) -> None:
        """To the last bit, fed with the candidate's own activations; a session that cannot cut its
        model into layers is none of ours."""
        with plugin.open_candidate(artifact, model=model, target=target) as session:
            able = isinstance(session, IsolatingSession)
            if not able:
                # Optional in the protocol: sessions without it give "not measured", never a pass.
                pytest.skip("the backend runs no single layers")
            rows = {row.name: row for row in session.layers(inputs)}
            names = [row.capture for row in rows.values() if row.capture is not None]
            captured = dict(session.capture(inputs, names))
            pieces = session.isolate({name: array[:2] for name, array in inputs.items()}).pieces
            assert set(pieces) == set(rows)
            alone = 0
            for name, piece in pieces.items():
                if isinstance(piece, str):
                    assert piece
                    assert not rows[name].computes, f"{name}: {piece}"
                    continue
                operands = [
                    inputs[operand.input]
                    if operand.input is not None
                    else captured[rows[operand.layer].capture]
                    for operand in piece.operands
                ]
                found = piece.run(operands)
                assert found.dtype == np.float32
                np.testing.assert_array_equal(found, captured[rows[name].capture], err_msg=name)
                alone += rows[name].computes
        assert alone == 4
