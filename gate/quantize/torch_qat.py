"""torch quantization-aware training: the float weights fine-tuned through simulated rounding.

``entry(model, samples, options)`` is the user's own loop. It is called with the prepared model (fake-quantizers in
place, training mode), ``samples`` and the spec's ``options``, and returns the trained model, or None where it
trained the one that it was given. ``samples(size)`` gives one epoch in a new order: pairs of the inputs, a tuple
of tensors, and the labels (a tensor of class indices, a list of what else the data knows, or None);
``len(samples)`` is their number. Conversion comes after it, and is not its business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from gate.core.artifact import Artifact, Format
from gate.core.canonical import JsonValue
from gate.core.spec import Options, TargetSpec
from gate.models.loading import seeded
from gate.models.torch_runtime import ENGINES, ao_unavailable, engine_of, torch_settings
from gate.quantize._torch_common import (
    KEEP_FLOAT_SCHEMA,
    computes_quantized,
    module_kinds,
    remembered_kept,
    resolve_kept,
    torch_versions,
    write_artifact,
)
from gate.quantize._torch_state import load_state
from gate.quantize._torch_train import TRAINING_PROPERTIES
from gate.quantize.base import CalibrationBatches, QuantizeError, with_defaults
from gate.quantize.keep_float import told
from gate.spec.entries import ENTRY_PATTERN

if TYPE_CHECKING:
    from torch import nn

    from gate.models.base import LoadedModel
    from gate.quantize._torch_train import TrainingSamples

# Without VNNI the 16-bit sums of fbgemm's kernels saturate at full range; x86 may dispatch to them.
_REDUCES_RANGE = frozenset({"x86", "fbgemm"})
_SEED = 0
"""Of the structure that a state is put into: whatever is drawn there is overwritten."""


class TorchQat:
    """``prepare_qat``, training and ``convert``, in the FX or the eager flow."""

    name: ClassVar[str] = "torch-qat"
    accepts: ClassVar[frozenset[Format]] = frozenset({Format.TORCH_MODULE})
    produces: ClassVar[Format | None] = Format.TORCH_QUANTIZED
    needs_calibration: ClassVar[bool] = True
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
            "activations": {
                "enum": ["quint8/affine", "quint8/symmetric"],
                "default": "quint8/affine",
                "description": "symmetric puts the zero point at 128",
            },
            "averaging": {
                "type": "number",
                "exclusiveMinimum": 0,
                "maximum": 1,
                "default": 0.1,
                "description": "weight of a step in the moving average of an activation's range",
            },
            "reduce_range": {
                "type": "boolean",
                "description": "affine activations in 7 bits; default true for engines x86 and fbgemm",
            },
            "keep_float": KEEP_FLOAT_SCHEMA,
            "engine": {
                "enum": list(ENGINES),
                "description": "kernels to quantize for; default the target's engine",
            },
        },
        "dependentRequired": {"options": ["entry"]},
    }

    def unavailable(self) -> str | None:
        """Why torch.ao is not here, or None."""
        return ao_unavailable()

    def versions(self) -> Mapping[str, str]:
        """See ``Quantizer.versions``."""
        return torch_versions()

    def quantize(
        self,
        model: LoadedModel,
        calibration: CalibrationBatches | None,
        *,
        options: Options,
        target: TargetSpec,
        seed: int,
        out_dir: Path,
    ) -> Artifact:
        """Train, convert and write the state; see ``Quantizer.quantize``."""
        from gate.quantize._torch_qat_checks import require_fake_quantizers
        from gate.quantize._torch_qat_flows import converted, prepared
        from gate.quantize._torch_train import training_samples

        complete = _complete(options, self.options_schema, target)
        inputs = model.spec.inputs
        with torch_settings(engine=complete["engine"], threads=target.threads), seeded(seed):
            samples = training_samples(calibration, inputs, seed=seed)
            kept = resolve_kept(model.module, complete, inputs=inputs, calibration=calibration)
            ready = prepared(model.module, complete, kept, inputs)
            require_fake_quantizers(
                ready, kinds=module_kinds(model.module), kept=told(complete["keep_float"])
            )
            trained = _trained(ready, model, samples, complete)
            quantized = converted(trained, complete, inputs)
            if not computes_quantized(quantized):
                raise QuantizeError(
                    "nothing was quantized: torch converted no layer to integer kernels; the model is made of "
                    f"{module_kinds(model.module)}"
                )
            return write_artifact(quantized, producer=self.name, options=complete, out_dir=out_dir)

    def keepable(self, model: LoadedModel, options: Options) -> tuple[str, ...]:  # noqa: ARG002
        """Names that ``keep_float`` selects among: the paths of the modules."""
        return tuple(name for name, _ in model.module.named_modules() if name)

    def restore(self, model: LoadedModel, artifact: Artifact, *, target: TargetSpec) -> Any:
        """The structure that conversion makes of an untrained model, and the file's state in it; see
        ``RestoringQuantizer.restore``."""
        from gate.quantize._torch_qat_flows import converted, prepared

        options, inputs = artifact.options, model.spec.inputs
        kept = remembered_kept(model.module, options)
        with (
            torch_settings(engine=engine_of(target.options), threads=target.threads),
            seeded(_SEED),
        ):
            quantized = converted(prepared(model.module, options, kept, inputs), options, inputs)
            load_state(quantized, artifact.path)
        return quantized


def _complete(
    options: Options, schema: Mapping[str, JsonValue], target: TargetSpec
) -> dict[str, JsonValue]:
    """All options; those of the built-in loop only where it runs."""
    complete = with_defaults(options, schema)
    complete.setdefault("engine", engine_of(target.options))
    symmetric = complete["activations"] == "quint8/symmetric"
    complete.setdefault("reduce_range", complete["engine"] in _REDUCES_RANGE and not symmetric)
    if symmetric and complete["reduce_range"]:
        raise QuantizeError(
            "torch cannot reduce the range of symmetric activations: drop reduce_range, or use "
            "activations: quint8/affine"
        )
    if "entry" in complete:
        if idle := [name for name in TRAINING_PROPERTIES if name in options]:
            raise QuantizeError(
                f"{', '.join(idle)}: options of the built-in loop, which entry takes the place of; hand "
                "them to the entry under options"
            )
        complete.setdefault("options", {})
        return {name: v for name, v in complete.items() if name not in TRAINING_PROPERTIES}
    if "momentum" in options and complete["optimizer"] != "sgd":
        raise QuantizeError(f"momentum is an option of sgd, not of {complete['optimizer']}")
    if complete["optimizer"] == "sgd":
        complete.setdefault("momentum", 0.9)
    epochs = complete["epochs"]
    complete.setdefault("freeze_batch_norm", epochs // 2)
    complete.setdefault("freeze_observers", max(1, 2 * epochs // 3))
    return complete


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

    from gate.models.torch_runtime import quiet_torch_ao
    from gate.quantize._torch_qat_checks import hint
    from gate.spec.entries import EntryError, load_entry

    entry: str = options["entry"]
    try:
        function: Callable[..., Any] = load_entry(entry)
    except EntryError as error:
        raise QuantizeError(str(error)) from error
    try:
        with quiet_torch_ao():
            trained = function(ready, samples, dict(options["options"]))
    except Exception as error:  # the user's code may raise anything
        raise QuantizeError(
            f"'{entry}' raised {type(error).__name__}: {error}{hint(error)}"
        ) from error
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
