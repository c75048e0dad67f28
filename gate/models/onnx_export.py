"""torch to ONNX: one quiet, deterministic file with a dynamic batch and names that follow the modules."""

from __future__ import annotations

import contextlib
import copy
import inspect
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gate.core.spec import InputSpec
from gate.models.base import ModelError
from gate.models.exported import program_module
from gate.models.onnx_modules import record_modules
from gate.models.onnx_names import normalise
from gate.models.tensors import dynamic_axes, example_inputs, name_outputs

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

# Raised inside the exporter about its own internals; nothing in a model can be changed to avoid them.
_KNOWN_WARNINGS = (
    (FutureWarning, r".*_check_is_size.*"),
    (FutureWarning, r".*isinstance\(treespec, LeafSpec\).*"),
    # nn.LSTM and nn.GRU keep a flat copy of their parameters, which tracing replaces in the copy.
    (UserWarning, r".*were assigned during export.*"),
    (UserWarning, r".*# 'dynamic_axes' is not recommended.*"),
    (DeprecationWarning, r".*"),
)


def export_onnx(
    model: nn.Module | ExportedProgram, inputs: Mapping[str, InputSpec], path: Path
) -> None:
    """Write ``model`` as a single ONNX file.

    Inputs are passed in the spec's order and carry the spec's names; axes that the spec names are
    dynamic; outputs are named as ``gate.models.tensors.name_outputs`` does. The file says which of its
    tensors are outputs of which modules (``gate.models.onnx_modules``).

    Raises:
        ModelError: the exporter refuses the model, or a dynamic axis is fixed by its code.
    """
    import torch

    example = example_inputs(inputs)
    with _quiet():
        try:
            program = _program(model, inputs, example)
            with torch.no_grad():
                outputs = list(name_outputs(program_module(program)(*example)))
            onnx_program = torch.onnx.export(
                program,
                dynamo=True,
                input_names=list(inputs),
                output_names=outputs,
                verbose=False,
            )
        except ModelError:
            raise
        except Exception as error:  # the exporter raises errors of a dozen unrelated classes
            raise ModelError(f"cannot be exported to ONNX: {_first_lines(error)}") from error
    assert onnx_program is not None  # noqa: S101 - None only without dynamo
    proto = onnx_program.model_proto
    normalise(proto)
    assert onnx_program.exported_program is not None  # noqa: S101 - it was made from one
    record_modules(proto, onnx_program.exported_program)
    path.write_bytes(proto.SerializeToString(deterministic=True))


def _program(
    model: nn.Module | ExportedProgram, inputs: Mapping[str, InputSpec], example: tuple[Any, ...]
) -> ExportedProgram:
    import torch
    from torch.export import ExportedProgram

    if isinstance(model, ExportedProgram):
        return model
    # Tracing assigns to attributes of recurrent modules: work on a copy, or a second export differs.
    with torch.no_grad():
        return torch.export.export(
            copy.deepcopy(model), example, dynamic_shapes=_by_position(model, dynamic_axes(inputs))
        )


def _by_position(model: nn.Module, shapes: tuple[dict[int, Any], ...]) -> Any:
    # A forward(*inputs) takes its shapes as one nested tuple.

    parameters = inspect.signature(model.forward).parameters.values()
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        named = sum(1 for p in parameters if p.kind is not p.VAR_POSITIONAL)
        return (*shapes[:named], shapes[named:])
    return shapes


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript")]
    previous = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            for category, message in _KNOWN_WARNINGS:
                warnings.filterwarnings("ignore", category=category, message=message)
            yield
    finally:
        for logger, level in zip(loggers, previous, strict=True):
            logger.setLevel(level)


def _first_lines(error: Exception) -> str:
    lines = [line.strip() for line in str(error).split(os.linesep) if line.strip()]
    return " ".join(lines[:4]) or type(error).__name__
