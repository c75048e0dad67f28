"""PT2E: quantization of exported graphs with torchao's X86InductorQuantizer, after or during training.

``torch.export`` -> ``prepare_pt2e`` -> calibration -> ``convert_pt2e``, or with ``qat:`` ``prepare_qat_pt2e``
-> training -> ``convert_pt2e``. The candidate is a graph in floating point with quantize and dequantize
calls around its layers and weights in int8. The torch backend runs it as it is, which checks the
numbers; with ``compile: true`` Inductor makes integer kernels of it.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from gate.core.artifact import Artifact, Format
from gate.core.canonical import JsonValue
from gate.core.spec import Options, TargetSpec
from gate.models.loading import seeded
from gate.models.torch_runtime import engine_of, torch_settings
from gate.quantize._pt2e_program import (
    PROGRAM_FILE,
    exported_graph,
    fold_batch_norm,
    integer_weights,
    open_program,
    program_graph,
    quiet_pt2e,
    register_operators,
    save_program,
)
from gate.quantize._torch_common import KEEP_FLOAT_SCHEMA, calibrate
from gate.quantize._torch_finetune import complete_training, fine_tune, training_schema
from gate.quantize._torch_method import TorchFileMethod, TorchWork
from gate.quantize._torchao import torchao_unavailable, torchao_versions
from gate.quantize.base import CalibrationBatches, QuantizeError

if TYPE_CHECKING:
    from torch.fx import GraphModule

    from gate.models.base import LoadedModel

_QAT = "qat"
_FREEZE = "freeze_batch_norm"
_FAILURES = (RuntimeError, ValueError, AssertionError, AttributeError, KeyError, IndexError)
"""What torchao raises for graphs that it does not understand."""
_REGION = "wrap_with_set_grad_enabled"
_LAYERS = ("conv1d", "conv2d", "conv3d", "linear", "matmul")
_DECOMPOSED = ("addmm", "mm", "bmm", "convolution")


class Pt2e(TorchFileMethod):
    """``X86InductorQuantizer`` over an exported program."""

    name = "pt2e"
    accepts = frozenset({Format.TORCH_MODULE, Format.EXPORTED})
    needs_calibration = True
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "reduce_range": {
                "type": "boolean",
                "default": False,
                "description": "activations in 7 bits, so that sums of 16 bits do not saturate without VNNI",
            },
            "strict": {
                "type": "boolean",
                "default": True,
                "description": "export by reading the code, which fusing of residual networks needs; "
                "false runs it instead",
            },
            "keep_float": KEEP_FLOAT_SCHEMA,
            _QAT: training_schema(
                "training through simulated rounding; without it ranges are calibrated alone. "
                f"With {_FREEZE}: 0, the default here, batch norm is folded before training; else torchao "
                "takes minutes more to fold it afterwards",
                observers=True,
            ),
        },
    }

    def unavailable(self) -> str | None:
        """Why torchao is not here, or None."""
        return torchao_unavailable()

    def versions(self) -> Mapping[str, str]:
        """See ``Quantizer.versions``."""
        return torchao_versions()

    def _completed(self, options: Options, target: TargetSpec) -> dict[str, JsonValue]:
        complete = super()._completed(options, target)
        if _QAT in complete:
            given = {_FREEZE: 0, **complete[_QAT]}
            complete[_QAT] = complete_training(given, key=_QAT, observers=True)
        return complete

    def _kept(
        self,
        model: LoadedModel,
        calibration: CalibrationBatches | None,
        options: dict[str, JsonValue],
    ) -> list[str]:
        if not options["keep_float"]:
            return []
        if model.format is not Format.TORCH_MODULE:
            raise QuantizeError(
                "pt2e: keep_float names modules, and an exported program has none; give the model as a "
                "module"
            )
        return super()._kept(model, calibration, options)

    def _made(self, work: TorchWork) -> GraphModule:
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e

        model, options = work.model, work.options
        with quiet_pt2e(), seeded(work.seed):
            prepared = _prepared(model, options, work.kept)
            if _QAT in options:
                _train(prepared, model, work.calibration, options[_QAT], work.seed)
            else:
                calibrate(prepared, work.calibration, model.spec.inputs)
            try:
                converted: GraphModule = convert_pt2e(prepared)
            except _FAILURES as error:
                raise QuantizeError(_told("convert", error, strict=options["strict"])) from error
            if not integer_weights(converted):
                raise QuantizeError(_nothing(converted, work.kept))
        return converted

    def _write(self, made: Any, work: TorchWork, out_dir: Path) -> Path:
        path = out_dir / PROGRAM_FILE
        with quiet_pt2e():
            save_program(made, work.model.spec.inputs, path)
        return path

    def keepable(self, model: LoadedModel, options: Options) -> tuple[str, ...]:
        """Names that ``keep_float`` selects among: the paths of the modules; none of a program."""
        return super().keepable(model, options) if model.format is Format.TORCH_MODULE else ()

    def restore(self, model: LoadedModel, artifact: Artifact, *, target: TargetSpec) -> Any:
        """The converted program, which stands alone; see ``RestoringQuantizer.restore``."""
        del model
        with torch_settings(engine=engine_of(target.options), threads=target.threads):
            return open_program(artifact.path)


def _prepared(
    model: LoadedModel, options: Mapping[str, JsonValue], kept: Sequence[str]
) -> GraphModule:
    """The exported network with observers, or with fake-quantizers that can be trained."""
    from torchao.quantization.pt2e.quantize_pt2e import prepare_pt2e, prepare_qat_pt2e

    register_operators()
    qat = _QAT in options
    if model.format is Format.EXPORTED:
        if qat:
            raise QuantizeError(
                "pt2e: an exported program was fixed for inference; qat needs the model as a module"
            )
        graph = program_graph(copy.deepcopy(model.module))
    else:
        trains_norm = qat and options[_QAT][_FREEZE] > 0
        module = copy.deepcopy(model.module).train(trains_norm)
        graph = exported_graph(module, model.spec.inputs, strict=options["strict"])
        if qat and not trains_norm:
            fold_batch_norm(graph)
    if any(_REGION in str(node.target) for node in graph.graph.nodes):
        raise QuantizeError(
            "nothing would be quantized: the model's forward runs under torch.no_grad(), and the exported "
            "program holds its layers in a region of their own, which X86InductorQuantizer does not "
            "look into; take no_grad out of forward, or export under no_grad too"
        )
    if not _found(graph, _LAYERS):
        raise QuantizeError(_nothing(graph, kept))
    try:
        if not qat:
            prepared: GraphModule = prepare_pt2e(graph, _quantizer(options, kept))
        else:
            prepared = prepare_qat_pt2e(graph, _quantizer(options, kept, qat=True))
    except _FAILURES as error:
        raise QuantizeError(_told("prepare", error, strict=options["strict"])) from error
    return prepared


def _train(
    prepared: GraphModule,
    model: LoadedModel,
    calibration: CalibrationBatches | None,
    options: Mapping[str, JsonValue],
    seed: int,
) -> None:
    from torchao.quantization.pt2e import (
        allow_exported_model_train_eval,
        disable_observer,
        move_exported_model_to_eval,
    )

    from gate.quantize._torch_train import training_samples

    folded = options[_FREEZE] == 0
    if folded:
        # Nothing is left that training mode would change; torch forbids asking an exported graph for it.
        prepared.train = lambda mode=True: prepared  # type: ignore[method-assign] # noqa: ARG005
    else:
        allow_exported_model_train_eval(prepared)
    fine_tune(
        prepared,
        model,
        copy.deepcopy(model.module).eval(),
        training_samples(calibration, model.spec.inputs, seed=seed),
        options=options,
        key=_QAT,
        freeze_batch_norm=(lambda _: None) if folded else move_exported_model_to_eval,
        freeze_observers=lambda module: module.apply(disable_observer),
    )
    if not folded:
        move_exported_model_to_eval(prepared)


def _quantizer(options: Mapping[str, JsonValue], kept: Sequence[str], *, qat: bool = False) -> Any:
    from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
        X86InductorQuantizer,
        get_default_x86_inductor_quantization_config,
    )

    quantizer = X86InductorQuantizer()
    quantizer.set_global(
        get_default_x86_inductor_quantization_config(
            is_qat=qat, reduce_range=options["reduce_range"]
        )
    )
    for name in kept:
        quantizer.set_module_name_qconfig(name, None)
    return quantizer


def _nothing(graph: GraphModule, kept: Sequence[str]) -> str:
    """Why nothing was quantized, from what the graph is made of."""
    said = "nothing was quantized: X86InductorQuantizer"
    if layers := _found(graph, _LAYERS):
        left = f"; kept in float: {', '.join(kept)}" if kept else ""
        return f"{said} took none of {layers} to integers{left}"
    if decomposed := _found(graph, _DECOMPOSED):
        return (
            f"{said} knows conv2d and linear, the exported program computes by {decomposed}: its layers "
            "were taken apart (run_decompositions, or an export for inference); give the program as "
            "torch.export.export makes it"
        )
    return f"{said} found no convolution and no linear layer in the exported program"


def _found(graph: GraphModule, operators: Sequence[str]) -> str:
    """How often a graph calls each of some operators, for people; empty where it calls none."""
    found = Counter(
        str(node.target).removeprefix("aten.").partition(".")[0]
        for node in graph.graph.nodes
        if node.op == "call_function"
    )
    return ", ".join(f"{found[name]} {name}" for name in operators if found[name])


def _told(step: str, error: Exception, *, strict: bool) -> str:
    way_out = "" if strict else "; export with strict: true"
    return f"PT2E cannot {step} the exported program ({type(error).__name__}: {error}){way_out}"
