"""Static quantization by torch for fbgemm, exported to ONNX: what a converter for another runtime reads."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from torch import nn
from torch.ao.quantization import get_default_qconfig_mapping
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

if TYPE_CHECKING:
    from gate.core.spec import TargetSpec

Batches = Callable[[], Iterable[Mapping[str, np.ndarray[Any, Any]]]]
OPSET = 17
"""The newest that the exporter for quantized modules writes."""


def export(
    model: nn.Module,
    calibration: Batches | None,
    options: Mapping[str, Any],
    target: TargetSpec,  # noqa: ARG001 - the file is the same for every target
) -> onnx.ModelProto:
    """Quantize for fbgemm, then export with the exporter that knows quantized modules (not dynamo's).

    ``options``: ``shape`` of one sample, ``input`` and ``output`` names.

    Raises:
        ValueError: there are no calibration samples.
    """
    if calibration is None:
        raise ValueError("static quantization needs data.calibration")
    torch.backends.quantized.engine = "fbgemm"
    example = torch.zeros(2, *options["shape"])
    prepared = prepare_fx(model.eval(), get_default_qconfig_mapping("fbgemm"), (example,))
    with torch.no_grad():
        for batch in calibration():
            prepared(torch.from_numpy(batch[options["input"]]))
    quantized = convert_fx(prepared)
    names = {"input_names": [options["input"]], "output_names": [options["output"]]}
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter says of itself that it is on its way out
        torch.onnx.export(
            quantized,
            (example,),
            file,
            dynamo=False,
            opset_version=OPSET,
            dynamic_axes={name: {0: "N"} for pair in names.values() for name in pair},
            **names,
        )
    return onnx.load_from_string(file.getvalue())
