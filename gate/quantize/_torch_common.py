"""What the torch quantizers share: calibration, selection of modules, words about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

from gate.core.canonical import JsonValue
from gate.core.spec import InputSpec
from gate.core.tensors import TensorMap
from gate.models.torch_packed import is_quantized_module
from gate.quantize.base import CalibrationBatches, QuantizeError
from gate.quantize.keep_float import choose, keep_float_schema, parse_keep_float, told

if TYPE_CHECKING:
    from torch import Tensor, nn

KEEP_FLOAT_SCHEMA: Mapping[str, JsonValue] = keep_float_schema(
    names="module paths", types="classes of modules"
)
KEPT = "kept_in_float"
"""Option of an artifact: the names that a ``keep_float`` with counts came to."""


def torch_versions() -> Mapping[str, str]:
    """torch decides the result of its own quantizers."""
    return {"torch": version("torch")}


def kept_in_float(
    module: nn.Module,
    keep: JsonValue,
    *,
    inputs: Mapping[str, InputSpec] | None = None,
    calibration: CalibrationBatches | None = None,
) -> list[str]:
    """Paths of the modules that the option ``keep_float`` selects.

    Args:
        module: the float network.
        keep: the option, a list or a mapping.
        inputs: the declared inputs, for layers that are counted.
        calibration: samples, for layers chosen by sensitivity.

    Raises:
        QuantizeError: a glob that selects nothing, or more layers than there are.
    """
    from gate.quantize._torch_layers import layers_of, noise_of_layers

    parsed = parse_keep_float(keep)
    if not parsed:
        return []
    return choose(
        parsed,
        layers_of(module, parsed, inputs),
        noise=lambda layers: noise_of_layers(
            module, layers, inputs=inputs or {}, calibration=calibration
        ),
        what="module",
    )


def resolve_kept(
    module: nn.Module,
    options: dict[str, JsonValue],
    *,
    inputs: Mapping[str, InputSpec],
    calibration: CalibrationBatches | None,
) -> list[str]:
    """As ``kept_in_float``; what counting and measuring came to is put into ``options``, from where
    ``remembered_kept`` takes it when the candidate is opened again without samples."""
    kept = kept_in_float(module, options["keep_float"], inputs=inputs, calibration=calibration)
    if isinstance(options["keep_float"], Mapping):
        options[KEPT] = kept
    return kept


def remembered_kept(module: nn.Module, options: Mapping[str, JsonValue]) -> list[str]:
    """The layers kept in float of an artifact with these options."""
    found = options.get(KEPT)
    return list(found) if found is not None else kept_in_float(module, options["keep_float"])


def chosen_modules(
    module: nn.Module, options: Mapping[str, JsonValue], kept: Sequence[str], *, method: str
) -> list[str]:
    """Paths of the modules of the classes ``options["modules"]``, subclasses left out, that are not
    kept in float.

    Raises:
        QuantizeError: there is none.
    """
    from torch import nn

    kinds = tuple(getattr(nn, name) for name in options["modules"])
    chosen = [
        name
        for name, part in module.named_modules()
        if name
        and type(part) in kinds
        and not any(name == k or name.startswith(f"{k}.") for k in kept)
    ]
    if not chosen:
        raise QuantizeError(
            f"nothing to quantize: {method} was told to quantize {', '.join(options['modules'])}"
            f"{' except ' + told(options['keep_float']) if kept else ''}; "
            f"the model is made of {module_kinds(module)}"
        )
    return chosen


def calibrate(
    module: nn.Module, batches: CalibrationBatches | None, inputs: Mapping[str, InputSpec]
) -> None:
    """Run every calibration batch through a prepared module.

    Raises:
        QuantizeError: there is no calibration sample, or the model does not take it.
    """
    import torch

    seen = 0
    with torch.no_grad():
        for batch in batches() if batches is not None else ():
            given = positional(batch, inputs)
            try:
                module(*given)
            except (RuntimeError, TypeError, ValueError, IndexError) as error:
                shapes = ", ".join(str(list(tensor.shape)) for tensor in given)
                first = str(error).strip().split("\n", 1)[0]
                raise QuantizeError(
                    f"the model does not run on calibration samples of shape {shapes}: {first}"
                ) from error
            seen += 1
    if not seen:
        raise QuantizeError("there are no calibration samples: give data.calibration in the spec")


def positional(batch: TensorMap, inputs: Mapping[str, InputSpec]) -> tuple[Tensor, ...]:
    """Tensors of a batch in the order in which the spec declares the inputs.

    Raises:
        QuantizeError: the batch lacks an input.
    """
    import numpy as np
    import torch

    if missing := [name for name in inputs if name not in batch]:
        raise QuantizeError(f"the calibration samples have no input '{missing[0]}'")
    # A copy: torch must neither see read-only memory nor change the caller's.
    return tuple(torch.from_numpy(np.array(batch[name], order="C")) for name in inputs)


def computes_quantized(module: nn.Module) -> bool:
    """True where a module or operator of a quantized network holds packed weights."""
    import torch
    from torch import fx

    weighted = any(
        is_quantized_module(part)
        and (hasattr(part, "_packed_params") or hasattr(part, "_all_weight_values"))
        for part in module.modules()
    )
    if weighted or not isinstance(module, fx.GraphModule):
        return weighted
    operators = (torch.ops.quantized.linear, torch.ops.quantized.conv2d, torch.ops.quantized.matmul)
    return any(node.target in operators for node in module.graph.nodes)


def module_kinds(module: nn.Module) -> str:
    """Classes of a network's leaf modules, for messages."""
    leaves = {type(part).__name__ for part in module.modules() if not list(part.children())}
    return ", ".join(sorted(leaves))


def module_paths(module: nn.Module) -> tuple[str, ...]:
    """Paths of all modules in a network."""
    return tuple(name for name, _ in module.named_modules() if name)


def made_of(module: nn.Module, options: Mapping[str, JsonValue]) -> str:
    """What a float network is made of and what of it was to stay so, for messages."""
    kept = told(options["keep_float"]) or "nothing"
    return f"the model is made of {module_kinds(module)}, kept in float: {kept}"
