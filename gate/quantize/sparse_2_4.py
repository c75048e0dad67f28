"""2:4 sparsity with int8: pruning by magnitude, optional fine-tuning, then torch FX static quantization.

No CPU kernel of torch or torchao uses the pattern: what runs here is the accuracy of the sparse int8 network,
with dense kernels. Zeros stay zero in symmetric int8, so that the candidate holds the pattern, and
``layers.sparsity_2_4`` says whether it does.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import filter as select
from typing import TYPE_CHECKING, ClassVar

from gate.core.canonical import JsonValue
from gate.core.spec import Options, TargetSpec
from gate.models.loading import seeded
from gate.quantize._torch_common import module_kinds, module_paths
from gate.quantize._torch_finetune import complete_training, fine_tune, training_schema
from gate.quantize.base import CalibrationBatches, QuantizeError
from gate.quantize.torch_fx_static import TorchFxStatic

if TYPE_CHECKING:
    from torch import nn

    from gate.models.base import LoadedModel

_FINE_TUNE = "fine_tune"


class Sparse24(TorchFxStatic):
    """Prunes a copy of the float network, trains it where asked, and quantizes it as ``torch-fx-static``."""

    name = "sparse-2-4"
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            **TorchFxStatic.options_schema["properties"],
            "dense": {
                "type": "array",
                "items": {"type": "string", "minLength": 1},
                "default": [],
                "description": "globs on module paths that are not pruned",
            },
            _FINE_TUNE: training_schema(
                "training of what is left, before it is quantized; none where not given",
                observers=False,
            ),
        },
    }

    def _completed(self, options: Options, target: TargetSpec) -> dict[str, JsonValue]:
        given = dict(options)
        if _FINE_TUNE in given:
            given[_FINE_TUNE] = complete_training(
                given[_FINE_TUNE], key=_FINE_TUNE, observers=False
            )
        return super()._completed(given, target)

    def _start(
        self,
        model: LoadedModel,
        calibration: CalibrationBatches | None,
        options: Mapping[str, JsonValue],
        seed: int,
    ) -> LoadedModel:
        with seeded(seed):
            return replace(model, module=_pruned(model, calibration, options, seed))


def _pruned(
    model: LoadedModel,
    calibration: CalibrationBatches | None,
    options: Mapping[str, JsonValue],
    seed: int,
) -> nn.Module:
    from gate.quantize._torch_sparse import prunable, prune, settle
    from gate.quantize._torch_train import training_samples

    module: nn.Module = copy.deepcopy(model.module)
    names = module_paths(module)
    dense: list[str] = []
    for glob in options["dense"]:
        found = select(names, glob)
        if not found:
            raise QuantizeError(f"dense: '{glob}' matches no module of the model")
        dense += found
    chosen = prunable(module, dense)
    if not chosen:
        raise QuantizeError(
            "nothing to prune: no convolution or linear layer that is not to stay dense has a multiple of "
            f"four input channels; the model is made of {module_kinds(module)}"
        )
    prune(module, chosen)
    if _FINE_TUNE in options:
        fine_tune(
            module,
            model,
            model.module,
            training_samples(calibration, model.spec.inputs, seed=seed),
            options=options[_FINE_TUNE],
            key=_FINE_TUNE,
            freeze_batch_norm=_freeze_batch_norm,
        )
    settle(module, chosen)
    return module.eval()


def _freeze_batch_norm(module: nn.Module) -> None:
    from torch.nn.modules.batchnorm import _BatchNorm

    for part in module.modules():
        if isinstance(part, _BatchNorm):
            part.eval()
