"""Base of the static torch methods, FX and eager: options, observation, corrections in their place."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from gate.core.canonical import JsonValue
from gate.core.spec import InputSpec, Options, TargetSpec
from gate.models.torch_runtime import quiet_torch_ao
from gate.quantize._torch_common import KEEP_FLOAT_SCHEMA, calibrate, computes_quantized, made_of
from gate.quantize._torch_kernels import (
    ACTIVATIONS_SCHEMA,
    ENGINE_SCHEMA,
    REDUCE_RANGE_SCHEMA,
    for_kernels,
)
from gate.quantize._torch_method import TorchMethod, TorchWork
from gate.quantize.base import OptionsError, QuantizeError

if TYPE_CHECKING:
    from torch import nn

    from gate.models.base import LoadedModel

EQUALIZE, ROUND, BIAS = "cross-layer-equalization", "adaround", "bias-correction"

STATIC_PROPERTIES: Mapping[str, JsonValue] = {
    "observer": {
        "enum": ["minmax", "moving-average", "histogram", "percentile", "mse"],
        "default": "histogram",
        "description": "how the range of an activation is taken; histogram is torch's own search for "
        "a small squared error, mse looks at every range",
    },
    "percentile": {
        "type": "number",
        "exclusiveMinimum": 50,
        "maximum": 100,
        "default": 99.99,
        "description": "share of the values that a range keeps (observer: percentile)",
    },
    "weights": {
        "enum": [
            "int8/per-channel",
            "int8/per-tensor",
            "int8/per-channel/affine",
            "int8/per-tensor/affine",
        ],
        "default": "int8/per-channel",
        "description": "scales by output channel or for the whole tensor; symmetric unless it says affine, "
        "which the engine onednn has no kernels for",
    },
    "weight_observer": {
        "enum": ["minmax", "mse"],
        "default": "minmax",
        "description": "scale of a weight by its largest magnitude, or by the least squared error",
    },
    "activations": ACTIVATIONS_SCHEMA,
    "reduce_range": REDUCE_RANGE_SCHEMA,
    "keep_float": KEEP_FLOAT_SCHEMA,
    "correct": {
        "type": "array",
        "items": {"enum": [EQUALIZE, ROUND, BIAS]},
        "uniqueItems": True,
        "default": [],
        "description": "error compensation, always in this order: equalised weight ranges of "
        "neighbouring layers, learned rounding, bias corrected by the mean error",
    },
    "adaround_iterations": {
        "type": "integer",
        "minimum": 1,
        "default": 500,
        "description": "steps of the learned rounding, a layer",
    },
    "engine": ENGINE_SCHEMA,
}
"""JSON Schema properties of both methods."""


class StaticMethod(TorchMethod):
    """Observes ranges on the calibration samples between ``_prepared`` and ``_converted``."""

    needs_calibration = True
    _nothing: ClassVar[str]
    """What was missing where nothing was quantized, for messages."""

    def _completed(self, options: Options, target: TargetSpec) -> dict[str, JsonValue]:
        complete = for_kernels(options, self.options_schema, target)
        if complete["weights"].endswith("/affine"):
            if complete["engine"] == "onednn":
                raise OptionsError(
                    "the engine onednn has no kernels for affine weights: use another engine, or "
                    f"weights: {complete['weights'].removesuffix('/affine')}",
                    option="weights",
                )
            if complete["weight_observer"] == "mse":
                raise OptionsError(
                    "weight_observer: mse looks for symmetric scales; use minmax",
                    option="weight_observer",
                )
        return complete

    def _made(self, work: TorchWork) -> nn.Module:
        module, options, inputs = work.model.module, work.options, work.model.spec.inputs
        quantized = _convert_corrected(
            self._prepared(_equalised(module, options, work.kept), options, work.kept, inputs),
            observe=lambda prepared: calibrate(prepared, work.calibration, inputs),
            convert=lambda prepared: self._converted(prepared, inputs),
            options=options,
            seed=work.seed,
        )
        if not computes_quantized(quantized):
            raise QuantizeError(
                f"nothing was quantized: {self._nothing}; {made_of(module, options)}"
            )
        return quantized

    def _structure(
        self, model: LoadedModel, options: Mapping[str, JsonValue], kept: Sequence[str]
    ) -> nn.Module:
        inputs = model.spec.inputs
        return self._converted(self._prepared(model.module, options, kept, inputs), inputs)

    @abstractmethod
    def _prepared(
        self,
        module: nn.Module,
        options: Mapping[str, JsonValue],
        kept: Sequence[str],
        inputs: Mapping[str, InputSpec],
    ) -> nn.Module:
        """A copy with observers.

        Raises:
            QuantizeError: torch cannot prepare the model.
        """

    @abstractmethod
    def _converted(self, prepared: nn.Module, inputs: Mapping[str, InputSpec]) -> nn.Module:
        """The integer network of a prepared one.

        Raises:
            QuantizeError: torch cannot convert the model.
        """


def _equalised(
    module: nn.Module, options: Mapping[str, JsonValue], kept: Sequence[str]
) -> nn.Module:
    """An equalised copy of the float network where the options say so, else the network itself.

    Raises:
        QuantizeError: there is no pair of layers to equalise.
    """
    if EQUALIZE not in options["correct"]:
        return module
    from gate.quantize._torch_equalize import equalise

    copied = copy.deepcopy(module).eval()
    equalise(copied, leave=kept)
    return copied


def _convert_corrected(
    prepared: nn.Module,
    *,
    observe: Callable[[nn.Module], None],
    convert: Callable[[nn.Module], nn.Module],
    options: Mapping[str, JsonValue],
    seed: int,
) -> nn.Module:
    """Observe, convert, and compensate the errors of the converted weights.

    Raises:
        QuantizeError: there is nothing to correct.
    """
    corrections = [name for name in (ROUND, BIAS) if name in options["correct"]]
    if not corrections:
        with quiet_torch_ao():
            observe(prepared)
        return convert(prepared)
    from gate.quantize._torch_adaround import round_learned
    from gate.quantize._torch_correct import Recorder, correct_biases

    with (
        quiet_torch_ao(),
        Recorder(prepared, rows=ROUND in corrections, seed=seed) as recorder,
    ):
        observe(prepared)
    converted = convert(prepared)
    layers = recorder.layers_of(converted)
    if not layers:
        raise QuantizeError(
            f"correct: {', '.join(corrections)}: no convolution or linear layer was quantized"
        )
    if ROUND in corrections:
        round_learned(layers, iterations=options["adaround_iterations"], seed=seed)
    if BIAS in corrections:
        correct_biases(layers)
    return converted
