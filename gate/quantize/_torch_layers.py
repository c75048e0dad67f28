"""Modules of a float network that can be kept in float, and what quantizing each alone would cost."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gate.core.spec import InputSpec
from gate.models.base import ModelError
from gate.models.tensors import example_inputs, name_outputs
from gate.quantize.base import CalibrationBatches, QuantizeError
from gate.quantize.keep_float import KeepFloat, Layer

if TYPE_CHECKING:
    from torch import Tensor, nn

NOISE_SAMPLES = 16
"""Calibration samples that costs are measured on: one forward pass a layer."""


def layers_of(
    module: nn.Module, keep: KeepFloat, inputs: Mapping[str, InputSpec] | None
) -> list[Layer]:
    """Every module; those with weights first and in order of execution where ``keep`` counts them.

    Raises:
        QuantizeError: the network does not run on inputs of the declared shapes.
    """
    named = {name: part for name, part in module.named_modules() if name}
    order: list[str] = []
    if keep.first or keep.last or keep.sensitivity:
        if inputs is None:
            raise QuantizeError("keep_float: this method knows names and types only")
        order = _executed(module, {n: p for n, p in named.items() if _holds_weights(p)}, inputs)
    rest = [name for name in named if name not in set(order)]
    return [
        Layer(name=name, kind=type(named[name]).__name__, weighted=name in set(order))
        for name in (*order, *rest)
    ]


def noise_of_layers(
    module: nn.Module,
    layers: Sequence[Layer],
    *,
    inputs: Mapping[str, InputSpec],
    calibration: CalibrationBatches | None,
) -> dict[str, float]:
    """Name -> noise power at the outputs, relative to the signal's, with that layer alone in int8.

    Simulated on the first ``NOISE_SAMPLES`` calibration samples: weights symmetric by output channel,
    the layer's input affine over the range that it has on these samples; of several outputs the
    worst counts.

    Raises:
        QuantizeError: there is no calibration sample.
    """
    import torch

    samples = _first_samples(calibration, inputs)
    found = {}
    with torch.no_grad():
        clean = name_outputs(module(*samples))
        for layer in layers:
            with _quantized_alone(module.get_submodule(layer.name)):
                noisy = name_outputs(module(*samples))
            found[layer.name] = max(_relative_power(clean[name], noisy[name]) for name in clean)
    return found


def per_channel_symmetric(weight: Tensor) -> Tensor:
    """A weight rounded to int8 with a symmetric scale for each index of its first axis."""
    import torch

    flat = weight.detach().reshape(len(weight), -1)
    scales = (flat.abs().amax(dim=1) / 127.5).clamp_min(torch.finfo(torch.float32).eps)
    zero_points = torch.zeros(len(weight), dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(
        weight.detach(), scales.to(torch.float32), zero_points, 0, -128, 127
    )


def _holds_weights(part: nn.Module) -> bool:
    """Convolutions, linear, recurrent and attention layers, embeddings; neither norms nor containers
    with a table of positions or a class token of their own."""
    return "Norm" not in type(part).__name__ and any(
        "weight" in name and parameter.dim() > 1 and parameter.dtype.is_floating_point
        for name, parameter in part.named_parameters(recurse=False)
    )


def _executed(
    module: nn.Module, wanted: Mapping[str, nn.Module], inputs: Mapping[str, InputSpec]
) -> list[str]:
    """Names of ``wanted`` in the order of their first call."""
    import torch

    order: dict[str, None] = {}
    handles = [
        part.register_forward_pre_hook(lambda _part, _given, name=name: order.setdefault(name))
        for name, part in wanted.items()
    ]
    try:
        with torch.no_grad():
            module(*example_inputs(inputs))
    except (ModelError, RuntimeError, TypeError, ValueError, IndexError) as error:
        raise QuantizeError(f"keep_float: the model does not run: {error}") from error
    finally:
        for handle in handles:
            handle.remove()
    return list(order)


def _first_samples(
    calibration: CalibrationBatches | None, inputs: Mapping[str, InputSpec]
) -> tuple[Tensor, ...]:
    import torch

    from gate.quantize._torch_common import positional

    parts: list[tuple[Tensor, ...]] = []
    seen = 0
    for batch in calibration() if calibration is not None else ():
        parts.append(positional(batch, inputs))
        seen += len(parts[-1][0])
        if seen >= NOISE_SAMPLES:
            break
    if not parts:
        raise QuantizeError(
            "keep_float: sensitivity needs calibration samples: give data.calibration in the spec"
        )
    return tuple(torch.cat(column)[:NOISE_SAMPLES] for column in zip(*parts, strict=True))


@contextlib.contextmanager
def _quantized_alone(part: nn.Module) -> Iterator[None]:
    weights = [p for p in part.parameters(recurse=False) if p.dim() > 1]
    before = [weight.data for weight in weights]
    handle = part.register_forward_pre_hook(lambda _, given: tuple(map(_affine, given)))
    try:
        for weight in weights:
            weight.data = per_channel_symmetric(weight)
        yield
    finally:
        handle.remove()
        for weight, value in zip(weights, before, strict=True):
            weight.data = value


def _affine(value: Any) -> Any:
    """A floating-point tensor rounded to 256 steps over its range, zero among them."""
    import torch

    if not isinstance(value, torch.Tensor) or not value.dtype.is_floating_point:
        return value
    low, high = float(value.min().clamp(max=0)), float(value.max().clamp(min=0))
    scale = max((high - low) / 255, torch.finfo(torch.float32).eps)
    zero_point = min(max(round(-low / scale), 0), 255)
    return torch.fake_quantize_per_tensor_affine(value, scale, zero_point, 0, 255)


def _relative_power(clean: Tensor, noisy: Tensor) -> float:
    signal = float(clean.double().square().sum())
    noise = float((noisy.double() - clean.double()).square().sum())
    return noise / signal if signal else noise
