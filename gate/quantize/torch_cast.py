"""torch in 16 bits: weights and arithmetic in float16 or bfloat16, inputs and outputs as they were."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from gate.core.artifact import Artifact, Format
from gate.core.canonical import JsonValue
from gate.core.spec import Options, TargetSpec
from gate.models.tensors import example_inputs
from gate.models.torch_runtime import engine_of, torch_settings, torch_unavailable
from gate.quantize._torch_around import around, mapped
from gate.quantize._torch_common import (
    KEEP_FLOAT_SCHEMA,
    module_kinds,
    remembered_kept,
    resolve_kept,
    torch_versions,
    write_artifact,
)
from gate.quantize._torch_state import load_state
from gate.quantize.base import CalibrationBatches, QuantizeError, with_defaults
from gate.quantize.keep_float import told

if TYPE_CHECKING:
    from torch import nn

    from gate.models.base import LoadedModel


class TorchCast:
    """``module.to(dtype)``, with the inputs cast on their way in and the outputs back to float32."""

    name: ClassVar[str] = "torch-cast"
    accepts: ClassVar[frozenset[Format]] = frozenset({Format.TORCH_MODULE})
    produces: ClassVar[Format | None] = Format.TORCH_QUANTIZED
    needs_calibration: ClassVar[bool] = False
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "dtype": {
                "enum": ["float16", "bfloat16"],
                "description": "float16 has 11 bits of precision and ends at 65504, bfloat16 has 8 bits and "
                "the range of float32",
            },
            "keep_float": KEEP_FLOAT_SCHEMA,
        },
        "required": ["dtype"],
    }

    def unavailable(self) -> str | None:
        """Why torch is not here, or None."""
        return torch_unavailable()

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
        seed: int,  # noqa: ARG002 - nothing is drawn
        out_dir: Path,
    ) -> Artifact:
        """Cast, run once and write the state; see ``Quantizer.quantize``."""
        complete = with_defaults(options, self.options_schema)
        inputs = model.spec.inputs
        kept = resolve_kept(model.module, complete, inputs=inputs, calibration=calibration)
        with torch_settings(engine=engine_of(target.options), threads=target.threads):
            cast = _cast(model.module, complete["dtype"], kept, len(inputs))
            if not _has_weights_of(cast, complete["dtype"]):
                raise QuantizeError(
                    f"nothing was cast to {complete['dtype']}: the model is made of "
                    f"{module_kinds(model.module)}, kept in float: "
                    f"{told(complete['keep_float']) or 'nothing'}"
                )
            _try(cast, model, complete["dtype"])
            return write_artifact(cast, producer=self.name, options=complete, out_dir=out_dir)

    def keepable(self, model: LoadedModel, options: Options) -> tuple[str, ...]:  # noqa: ARG002
        """Names that ``keep_float`` selects among: the paths of the modules."""
        return tuple(name for name, _ in model.module.named_modules() if name)

    def restore(self, model: LoadedModel, artifact: Artifact, *, target: TargetSpec) -> Any:
        """The cast module with the file's state; see ``RestoringQuantizer.restore``."""
        options = artifact.options
        kept = remembered_kept(model.module, options)
        with torch_settings(engine=engine_of(target.options), threads=target.threads):
            cast = _cast(model.module, options["dtype"], kept, len(model.spec.inputs))
            load_state(cast, artifact.path)
        return cast


def _cast(module: nn.Module, name: str, kept: Sequence[str], inputs: int) -> nn.Module:
    """A copy in 16 bits; the modules ``kept`` stay in float32 and cast at their own borders."""
    import torch

    dtype = getattr(torch, name)
    cast = copy.deepcopy(module).to(dtype)
    for path in kept:
        _in_dtype(cast.get_submodule(path).to(torch.float32), torch.float32, dtype, None)
    _in_dtype(cast, dtype, torch.float32, inputs)
    return cast.eval()


def _in_dtype(module: nn.Module, inside: Any, outside: Any, inputs: int | None) -> None:
    def enter(_: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(mapped(value, lambda tensor: tensor.to(inside)) for value in given)

    def leave(_: Any, result: Any) -> Any:
        return mapped(result, lambda tensor: tensor.to(outside))

    around(module, inputs=inputs, enter=enter, leave=leave)


def _has_weights_of(module: nn.Module, name: str) -> bool:
    return any(str(p.dtype) == f"torch.{name}" and p.dim() > 1 for p in module.parameters())


def _try(module: nn.Module, model: LoadedModel, dtype: str) -> None:
    import torch

    try:
        with torch.inference_mode():
            module(*example_inputs(model.spec.inputs))
    # NotImplementedError is what torch raises where it has no kernel in the type.
    except (RuntimeError, NotImplementedError, TypeError) as error:
        first = str(error).strip().split("\n", 1)[0]
        raise QuantizeError(
            f"the model does not run in {dtype} on this processor: {first} Keep that layer in float "
            "(keep_float)" + (", or use dtype: bfloat16" if dtype == "float16" else "")
        ) from error
