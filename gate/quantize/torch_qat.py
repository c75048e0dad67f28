"""torch quantization-aware training: the float weights fine-tuned through simulated rounding.

``entry(model, samples, options)`` is the user's own loop. It is called with the prepared model (fake-quantizers in
place, training mode), ``samples`` and the spec's ``options``, and returns the trained model, or None where it
trained the one that it was given. ``samples(size)`` gives one epoch in a new order: pairs of the inputs, a tuple
of tensors, and the labels (a tensor of class indices, a list of what else the data knows, or None);
``len(samples)`` is their number. Conversion comes after it, and is not its business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from gate.core.canonical import JsonValue
from gate.core.spec import Options, TargetSpec
from gate.models.loading import seeded
from gate.models.torch_runtime import quiet_torch_ao
from gate.quantize._entry import entry_of
from gate.quantize._torch_common import (
    KEEP_FLOAT_SCHEMA,
    computes_quantized,
    made_of,
    module_kinds,
)
from gate.quantize._torch_kernels import (
    ACTIVATIONS_SCHEMA,
    ENGINE_SCHEMA,
    REDUCE_RANGE_SCHEMA,
    for_kernels,
)
from gate.quantize._torch_method import TorchMethod, TorchWork
from gate.quantize._torch_train import TRAINING_PROPERTIES, settle_loop
from gate.quantize.base import OptionsError, QuantizeError
from gate.spec.entries import ENTRY_PATTERN

if TYPE_CHECKING:
    from torch import nn

    from gate.models.base import LoadedModel
    from gate.quantize._torch_train import TrainingSamples

_SEED = 0
"""Of the structure that a state is put into: whatever is drawn there is overwritten."""


class TorchQat(TorchMethod):
    """``prepare_qat``, training and ``convert``, in the FX or the eager flow."""

    name = "torch-qat"
    needs_calibration = True
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "flow": {
                "enum": ["fx", "eager"],
                "default": "fx",
                "description": "fx traces the model; eager swaps its modules, which then must be all that computes",
            },
            **TRAINING_PROPERTIES,
            "entry": {
                "type": "string",
                "pattern": ENTRY_PATTERN,
                "description": "package.module:callable(model, samples, options), a training loop in the place of "
                "the built-in one",
            },
            "options": {"type": "object", "description": "handed to the entry as it is"},
            "scales": {
                "enum": ["observed", "learned"],
                "default": "observed",
                "description": "of the weights: from their range, or trained with them (LSQ)",
            },
            "weights": {
                "enum": ["int8/per-channel", "int8/per-tensor"],
                "default": "int8/per-channel",
                "description": "symmetric, scales by output channel or for the whole tensor",
            },
            "activations": ACTIVATIONS_SCHEMA,
            "averaging": {
                "type": "number",
                "exclusiveMinimum": 0,
                "maximum": 1,
                "default": 0.1,
                "description": "weight of a step in the moving average of an activation's range",
            },
            "reduce_range": REDUCE_RANGE_SCHEMA,
            "keep_float": KEEP_FLOAT_SCHEMA,
            "engine": ENGINE_SCHEMA,
        },
        "dependentRequired": {"options": ["entry"]},
    }

    def _completed(self, options: Options, target: TargetSpec) -> dict[str, JsonValue]:
        """Options of the built-in loop only where it runs."""
        complete = for_kernels(options, self.options_schema, target)
        if "entry" in complete:
            if idle := [name for name in TRAINING_PROPERTIES if name in options]:
                raise OptionsError(
                    f"{', '.join(idle)}: options of the built-in loop, which entry takes the place of; hand "
                    "them to the entry under options",
                    option=idle[0],
                )
            complete.setdefault("options", {})
            return {name: v for name, v in complete.items() if name not in TRAINING_PROPERTIES}
        settle_loop(complete, options)
        return complete

    def _made(self, work: TorchWork) -> nn.Module:
        from gate.quantize._torch_qat_checks import require_fake_quantizers
        from gate.quantize._torch_qat_flows import converted, prepared
        from gate.quantize._torch_train import training_samples

        module, options, inputs = work.model.module, work.options, work.model.spec.inputs
        with seeded(work.seed):
            samples = training_samples(work.calibration, inputs, seed=work.seed)
            ready = prepared(module, options, work.kept, inputs)
            require_fake_quantizers(ready, told_of=made_of(module, options))
            trained = _trained(ready, work.model, samples, options)
            quantized = converted(trained, options, inputs)
        if not computes_quantized(quantized):
            raise QuantizeError(
                "nothing was quantized: torch converted no layer to integer kernels; the model is made of "
                f"{module_kinds(module)}"
            )
        return quantized

    def _structure(
        self, model: LoadedModel, options: Mapping[str, JsonValue], kept: Sequence[str]
    ) -> nn.Module:
        from gate.quantize._torch_qat_flows import converted, prepared

        inputs = model.spec.inputs
        with seeded(_SEED):
            return converted(prepared(model.module, options, kept, inputs), options, inputs)


def _trained(
    ready: nn.Module, model: LoadedModel, samples: TrainingSamples, options: Mapping[str, JsonValue]
) -> nn.Module:
    from gate.quantize._torch_qat_checks import Watch
    from gate.quantize._torch_qat_qconfig import learn_scales

    who = f"the entry '{options['entry']}'" if "entry" in options else "the built-in loop"
    if options["scales"] == "learned":
        _observe_once(ready, samples)
        learn_scales(ready)
    watch = Watch(ready, who=who)
    trained = ready
    if "entry" in options:
        trained = _by_entry(ready, samples, options)
    else:
        _by_loop(ready, model, samples, options)
    # Conversion runs the weights' fake-quantizers again, which must not move their scales any more:
    # the observers are off after the check.
    watch.check(trained, [tensor[:2] for tensor in samples.inputs])
    return trained


def _by_loop(
    ready: nn.Module, model: LoadedModel, samples: TrainingSamples, options: Mapping[str, JsonValue]
) -> None:
    from torch.ao.quantization import disable_observer

    from gate.quantize._torch_train import Loop, loss_of

    loss = loss_of(options["loss"], model.spec.task, model.module, samples)
    Loop(
        options=options,
        freeze_batch_norm=_freeze_batch_norm,
        freeze_observers=lambda module: module.apply(disable_observer),
        groups=lambda module: _groups(module, options),
    ).run(ready, samples, loss)


def _by_entry(
    ready: nn.Module, samples: TrainingSamples, options: Mapping[str, JsonValue]
) -> nn.Module:
    from torch import nn

    entry: str = options["entry"]
    function = entry_of(entry)
    with quiet_torch_ao():
        trained = function(ready, samples, dict(options["options"]))
    trained = ready if trained is None else trained
    if not isinstance(trained, nn.Module):
        raise QuantizeError(
            f"'{entry}' returned a {type(trained).__name__}, expected the trained nn.Module, or None"
        )
    return trained


def _observe_once(module: nn.Module, samples: TrainingSamples) -> None:
    """One forward pass, so that every weight has a range to take its first scale from."""
    import torch

    module.eval()  # statistics of batch norm stay as they are
    with torch.no_grad():
        module(*(tensor[:2] for tensor in samples.inputs))
    module.train()


def _groups(module: nn.Module, options: Mapping[str, JsonValue]) -> list[dict[str, Any]]:
    """Weights in one group. Each learned scale has one of its own without decay: Adam moves every
    parameter by about its learning rate, so that a scale's is as small as the scale."""
    from gate.quantize._torch_qat_qconfig import learned_scales

    scales = learned_scales(module)
    taken = {id(scale) for scale in scales.values()}
    rest = [p for p in module.parameters() if p.requires_grad and id(p) not in taken]
    adapts = options["optimizer"] != "sgd"
    rate = options["learning_rate"]
    return [
        {"params": rest},
        *(
            {
                "params": [scale],
                "weight_decay": 0.0,
                "lr": rate * float(scale.detach().mean()) if adapts else rate,
            }
            for scale in scales.values()
        ),
    ]


def _freeze_batch_norm(module: nn.Module) -> None:
    """Statistics stay as they are, in fused modules and in batch norm on its own."""
    from torch.ao.nn.intrinsic.qat import freeze_bn_stats
    from torch.nn.modules.batchnorm import _BatchNorm

    module.apply(freeze_bn_stats)
    for part in module.modules():
        if isinstance(part, _BatchNorm):
            part.eval()
