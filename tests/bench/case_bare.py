"""Child of ``case``: the bare loops, with the libraries alone. Argument: JSON with spec, select and launches.

Prints seconds of making the candidate (export, quantize) and of the loops, imports included in the
part that needs them first. Preprocessing is the gate's own, which is no slower than a script's.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

START = time.perf_counter()


def main() -> None:
    """Make the candidate, then run the loops once each."""
    arguments = json.loads(sys.argv[1])
    from gate.spec.load import load_specs
    from gate.spec.matrix import plan
    from tests.bench.models import quantized

    (chosen,) = plan(load_specs([arguments["spec"]]), [arguments["select"]]).cases
    with tempfile.TemporaryDirectory() as folder:
        network = quantized(chosen, Path(folder))
        made = time.perf_counter()
        _loops(
            chosen, network.floating.path, network.candidate.path, launches=arguments["launches"]
        )
    end = time.perf_counter()
    print(json.dumps({"make": made - START, "loops": end - made}))


def _loops(chosen: Any, floating: Path, candidate: Path, *, launches: int) -> None:
    import onnxruntime

    from gate.data.samples import open_samples
    from gate.tiers.device import RUNS_PER_ROUND

    def session(model: Any) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    both = [session(str(path)) for path in (floating, candidate)]
    name = both[0].get_inputs()[0].name
    evaluation, _ = open_samples(chosen.data, chosen.model.inputs)
    error = power = agree = 0.0
    for batch in evaluation.batches(chosen.run.batch):
        (inputs,) = batch.inputs.values()
        x, y = (one.run(None, {name: inputs})[0] for one in both)
        error += float(((x - y) ** 2).sum())
        power += float((x**2).sum())
        agree += float((x.argmax(1) == y.argmax(1)).sum())
    (inputs,) = next(evaluation.batches(chosen.run.layer_samples)).inputs.values()
    _layers(session, floating, candidate, name, inputs)
    (inputs,) = next(evaluation.batches(chosen.run.timing_batch)).inputs.values()
    times: list[list[float]] = [[], []]
    run = chosen.run
    for _ in range(launches * (run.timing_warmup + RUNS_PER_ROUND * run.timing_rounds)):
        for one, samples in zip(both, times, strict=True):
            start = time.perf_counter()
            one.run(None, {name: inputs})
            samples.append(time.perf_counter() - start)


def _layers(session: Any, floating: Path, candidate: Path, name: str, inputs: Any) -> None:
    """SQNR of every stored tensor against the float tensor of the same name."""
    import onnx

    def observed(path: Path, tensors: list[str]) -> Any:
        model = onnx.load(path)
        present = {output.name for output in model.graph.output}
        model.graph.output.extend(
            onnx.ValueInfoProto(name=tensor) for tensor in tensors if tensor not in present
        )
        return session(model.SerializeToString())

    quantize = {
        node.input[0]: node
        for node in onnx.load(candidate).graph.node
        if node.op_type == "QuantizeLinear"
    }
    made = {output for node in onnx.load(floating).graph.node for output in node.output}
    tensors = [tensor for tensor in quantize if tensor in made]
    parameters = {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in onnx.load(candidate).graph.initializer
    }
    stored = [quantize[tensor].output[0] for tensor in tensors]
    sides = observed(floating, tensors), observed(candidate, stored)
    for start in range(0, len(inputs), 4):
        part = {name: inputs[start : start + 4]}
        outputs = (sides[0].run(tensors, part), sides[1].run(stored, part))
        for tensor, x, codes in zip(tensors, *outputs, strict=True):
            scale, zero_point = (parameters[p] for p in quantize[tensor].input[1:3])
            y = (codes.astype(np.float32) - zero_point) * scale
            float((x**2).sum()) / max(float(((x - y) ** 2).sum()), 1e-30)


if __name__ == "__main__":
    main()
