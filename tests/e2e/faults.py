"""Faults of the drill planted into a chosen layer of a candidate on disk.

The end-to-end project takes these from ``gate.drill``, so that the gate sees what it would see if the
quantizer itself had changed; the drill's own tests plant all the others.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from gate.drill import inject

FAULTS = (
    "scale_x1_05",
    "zero_point_off_by_1",
    "zero_point_off_by_4",
    "wrong_axis",
    "wrong_axis_in_the_file",
    "channel_zeroed",
    "int4",
    "weight_scale_nan",
    "output_nan",
    "output_shape",
    "float_weights_kept",
)


def break_file(path: Path, *, fault: str, layer: str | None) -> None:
    """Plant one fault into the layer (None: the whole model) of the ONNX file at ``path``."""
    model = onnx.load(path)
    injector = inject.load(fault)
    place = injector.places(model).index(layer)
    injector(model, np.random.default_rng(0), place=place)
    onnx.save(model, path)
