"""Child of ``layers``: one side's comparison. Argument: JSON with folder and side; prints figures.

The models and inputs are read, and each side's own modules imported, before the clock starts and
before memory is taken as the zero line; sessions are made inside, as each side makes them.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil

Inputs = npt.NDArray[np.float32]


def prepare_ours(folder: Path) -> Callable[[Inputs], int]:
    """The layers tier on two sessions of the ONNX Runtime backend."""
    from gate.backends.onnxruntime import OnnxRuntimeBackend
    from gate.core.artifact import Artifact, Format
    from gate.core.spec import InputSpec, ModelSpec, TargetSpec
    from gate.models.base import LoadedModel
    from gate.tiers.layers import observe_layers

    def model(name: str) -> tuple[Path, str]:
        path = folder / name
        return path, hashlib.sha256(path.read_bytes()).hexdigest()

    def compare(inputs: Inputs) -> int:
        import onnxruntime

        probe = onnxruntime.InferenceSession(folder / "float.onnx").get_inputs()[0]
        spec = ModelSpec(
            id="bench",
            task="image-classification",
            source="onnx",
            options={},
            inputs={probe.name: InputSpec(shape=("N", *inputs.shape[1:]), dtype="float32")},
        )
        target = TargetSpec(
            name="ort-cpu", backend="onnxruntime", threads=1, dedicated=False, options={}
        )
        path, sha256 = model("float.onnx")
        floating = LoadedModel(
            format=Format.ONNX,
            sha256=sha256,
            size_bytes=path.stat().st_size,
            spec=spec,
            path=path,
        )
        path, sha256 = model("candidate.onnx")
        artifact = Artifact(
            format=Format.ONNX,
            path=path,
            sha256=sha256,
            size_bytes=path.stat().st_size,
            producer="onnxruntime-static",
        )
        backend = OnnxRuntimeBackend()
        with (
            backend.open_reference(floating, target=target) as reference,
            backend.open_candidate(artifact, model=floating, target=target) as candidate,
        ):
            seen = observe_layers(
                reference,
                candidate,
                sample={probe.name: inputs[:2]},
                batches=lambda size: (
                    {probe.name: inputs[start : start + size]}
                    for start in range(0, len(inputs), size)
                ),
                tick=lambda _: None,
            )
        return sum(match.errors is not None for match in seen.layers.matches)

    return compare


def prepare_peer(folder: Path) -> Callable[[Inputs], int]:
    """``qdq_loss_debug`` as its documentation uses it."""
    import onnxruntime
    from onnxruntime.quantization import qdq_loss_debug
    from onnxruntime.quantization.calibrate import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self, inputs: Inputs, name: str) -> None:
            self._items = iter([{name: inputs[i : i + 1]} for i in range(len(inputs))])

        def get_next(self) -> dict[str, Inputs] | None:
            return next(self._items, None)

    def compare(inputs: Inputs) -> int:
        options = onnxruntime.SessionOptions()
        # Its own default level, given here only because the number of threads has to be.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        name = onnxruntime.InferenceSession(folder / "float.onnx").get_inputs()[0].name
        activations = []
        for file in ("float.onnx", "candidate.onnx"):
            augmented = folder / f"{os.getpid()}_{file}"
            qdq_loss_debug.modify_model_output_intermediate_tensors(folder / file, augmented)
            activations.append(
                qdq_loss_debug.collect_activations(
                    str(augmented), Reader(inputs, name), session_options=options
                )
            )
            augmented.unlink()
        matching = qdq_loss_debug.create_activation_matching(activations[1], activations[0])
        return len(qdq_loss_debug.compute_activation_error(matching))

    return compare


def main() -> None:
    """Run one side and print its seconds, extra bytes and how many tensors it compared."""
    arguments = json.loads(sys.argv[1])
    folder = Path(arguments["folder"])
    prepare = {"ours": prepare_ours, "peer": prepare_peer}[arguments["side"]]
    import onnx  # noqa: F401 - both sides need it; its memory is nobody's extra

    compare = prepare(folder)
    inputs = np.load(folder / "inputs.npy")
    zero = psutil.Process().memory_info().rss
    start = time.perf_counter()
    compared = compare(inputs)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "extra_bytes": peak - zero, "compared": compared}))


if __name__ == "__main__":
    main()
